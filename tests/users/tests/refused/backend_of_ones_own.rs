//! An implementation that publishes what it likes.
fn main() {
    fn context(backend: std::sync::Arc<dyn aio2::backend::Backend>) -> aio2::Context {
        aio2::Context::over(backend, aio2::Implementation::Engine)
    }
    let _ = context;
}
