//! `aio2 exec`: one syscall with attributes, run now.
//!
//! Duty: build the request from the command line, run it by io_exec2, and show
//! its event: the result, the attribute returns, and the buffers.

mod argument;
mod memory;
pub mod signature;

use crate::args::{ExecArgs, Global};
use crate::attribute::{self, Asked, Fields};
use crate::exit::{Exit, Trouble};
use crate::printable::Printable;
use crate::{dump, errno};
use aio2::{Context, Iocbs};
use aio2_abi::attr;
use aio2_abi::event::{self, EventView};
use aio2_abi::iocb::IocbFlags;
use argument::Argument;
use serde::Serialize;
use serde_json::{Map, Value};
use signature::Signature;
use std::fmt;
use std::fs;
use std::path::Path;
use zerocopy::IntoBytes;

/// Attributes that have no meaning for a call that is run at once.
const NOT_HERE: [u16; 3] = [attr::DEADLINE, attr::GROUP, attr::AFTER];

/// Runs the syscall.
///
/// # Errors
/// If the command line does not describe a request, or it cannot be run.
pub fn run(global: &Global, args: &ExecArgs) -> Result<Exit, Trouble> {
    let signature = signature::find(&args.call).ok_or_else(|| {
        Trouble::new(format!(
            "{:?} is not on the allow list; aio2 probe -v lists what is",
            args.call
        ))
    })?;
    if args.args.len() != signature.count() {
        return Err(wrong_count(&signature, args.args.len()));
    }
    let in_exec = |why: String| Trouble::new(why);
    let arguments: Vec<_> = args.args.iter().map(|arg| Argument::parse(arg)).collect();
    let arguments = arguments.into_iter().collect::<Result<Vec<_>, _>>().map_err(in_exec)?;
    let asked: Vec<_> = args.attrs.iter().map(|spec| attribute::parse(spec)).collect();
    let asked = asked.into_iter().collect::<Result<Vec<_>, _>>().map_err(in_exec)?;
    if let Some(asked) = asked.iter().find(|asked| NOT_HERE.contains(&asked.id)) {
        let name = attribute::name(asked.id);
        return Err(Trouble::new(format!(
            "{name} is for requests that wait; exec runs the call at once"
        )));
    }
    let flags = if args.full { IocbFlags::FULL } else { IocbFlags::empty() };
    let mut iocb = encode(&signature, &arguments, &asked, flags)?;
    save(args.save_iocb.as_deref(), iocb.bytes())?;
    let mut room = [0_u64; event::LEN_MAX / 8];
    let event = exec(&global.context(None)?, &mut iocb, &mut room)?;
    save(args.save_event.as_deref(), event)?;
    let (event, _) = EventView::parse(event)
        .map_err(|bad| Trouble::new(format!("the implementation sent no event: {bad}")))?;
    let outcome = Outcome::new(&signature, &arguments, &event);
    global.print(&outcome, &outcome)?;
    Ok(if outcome.errno.is_some() { Exit::SomeFailed } else { Exit::Done })
}

fn wrong_count(signature: &Signature, given: usize) -> Trouble {
    let Signature { name, arguments, .. } = signature;
    Trouble::new(match signature.count() {
        0 => format!("{name} takes no arguments, {given} were given"),
        count => format!("{name} takes {count} arguments ({arguments}), {given} were given"),
    })
}

fn encode(
    signature: &Signature,
    arguments: &[Argument],
    asked: &[Asked],
    flags: IocbFlags,
) -> Result<Iocbs, Trouble> {
    let registers: Vec<_> = arguments.iter().map(|argument| argument.value).collect();
    let no_room = |_| Trouble::new("the attributes are longer than a request can be");
    let mut iocbs = Iocbs::new();
    let mut iocb = iocbs.push(signature.nr, &registers, flags, 0).map_err(no_room)?;
    for Asked { id, flags, payload } in asked {
        iocb.attr(*id, *flags, payload).map_err(no_room)?;
    }
    Ok(iocbs)
}

/// Runs the request and returns the bytes of its event.
fn exec<'a>(context: &Context, iocb: &mut Iocbs, room: &'a mut [u64]) -> Result<&'a [u8], Trouble> {
    // SAFETY: addresses are those of the arguments' memory, which lives and is
    // left alone until the call is over, and behind which nothing is mapped.
    // Who gives an address as a number asks for what happens.
    let bytes = unsafe { context.exec_raw(iocb.bytes_mut(), room.as_mut_bytes()) };
    let bytes = bytes.map_err(|error| Trouble::new(error.to_string()))?;
    Ok(&room.as_bytes()[..bytes])
}

fn save(path: Option<&Path>, bytes: &[u8]) -> Result<(), Trouble> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, bytes)
        .map_err(|error| Trouble::new(format!("{} is not written: {error}", path.display())))
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    call: String,
    result: i64,
    errno: Option<String>,
    attributes: Vec<Value>,
    buffers: Vec<Buffer>,
    #[serde(skip)]
    returns: Vec<(String, Fields)>,
}

/// A buffer after the call.
#[derive(Debug, Serialize)]
struct Buffer {
    /// Number of the argument, from 0.
    argument: usize,
    text: String,
    hex: String,
}

impl Outcome {
    fn new(signature: &Signature, arguments: &[Argument], event: &EventView<'_>) -> Self {
        let shown: Vec<_> = arguments.iter().map(|given| (given.value, given.text())).collect();
        let returns = dump::returns(event);
        let attributes = returns.iter().map(|(name, fields)| {
            let mut object = Map::from_iter([("name".to_owned(), Value::from(name.as_str()))]);
            object.append(&mut attribute::object(fields.clone()));
            Value::Object(object)
        });
        let buffers = arguments.iter().enumerate().filter_map(|(argument, given)| {
            let bytes = given.buffer()?;
            let (text, hex) = (Printable(bytes).to_string(), attribute::to_hex(bytes));
            Some(Buffer { argument, text, hex })
        });
        let res = event.header.res;
        let failed = dump::error(res);
        Outcome {
            call: signature::call_with(signature.nr, &shown),
            result: res,
            errno: failed.map(|errno| errno::name(errno).unwrap_or_else(|| errno.to_string())),
            attributes: attributes.collect(),
            buffers: buffers.collect(),
            returns,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.call, self.result)?;
        if let Some(errno) = dump::error(self.result) {
            write!(f, " {}", errno::text(errno))?;
        }
        for (name, fields) in &self.returns {
            write!(f, "\n  {name}: {}", attribute::line(fields))?;
        }
        for Buffer { argument, text, .. } in &self.buffers {
            write!(f, "\n  argument {argument}: \"{text}\"")?;
        }
        Ok(())
    }
}
