//! All mutants of a file in one text, of which a number chosen at run time is
//! active: compiling each of them takes hours, running the tests does not.
//!
//! An expression becomes `(match crate::mutant(7) { 7 => a - b, _ => a + b })`,
//! a function begins with `if crate::mutant(8) == 8 { return 0; }`. The argument
//! tells that the place was come to. What cannot be written so (constants) is
//! left out. In a `const fn` a mutant is active at run time only, so that it has
//! to be built on its own if no test sees it.

use super::list::{Genre, Mutant};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Number of a mutant; 0 is none.
pub type Id = u32;

/// A place in a source text that changes with the active mutant.
struct Site {
    /// What is replaced; empty where something is inserted.
    range: Range<usize>,
    /// What stands there instead, for each mutant.
    texts: Vec<(Id, String)>,
}

/// A text with its mutants, and where they stand in it.
pub struct Schema {
    /// The text.
    pub text: String,
    /// Those in a `const fn`.
    pub at_run_time: BTreeSet<Id>,
    /// Those that are no Rust.
    pub wrong: BTreeSet<Id>,
    /// Which mutants a part of the text belongs to.
    regions: Vec<Region>,
}

/// A part of a text.
struct Region {
    range: Range<usize>,
    ids: Vec<Id>,
    /// It is their text, not one that they stand in.
    is_own: bool,
}

impl Schema {
    /// Writes `mutants`, all of file `source`, into it.
    ///
    /// # Errors
    /// If the source is not Rust.
    pub fn new(source: &str, mutants: &[&Mutant]) -> syn::Result<Self> {
        let file = syn::parse_file(source)?;
        let (at_run_time, wrong, sites) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let mut finder = Finder {
            source,
            mutants,
            constant: 0,
            in_const_fn: false,
            open: false,
            at_run_time,
            wrong,
            sites,
        };
        finder.visit_file(&file);
        let Finder { at_run_time, wrong, mut sites, .. } = finder;
        sites.sort_by_key(|s| (s.range.start, !s.range.is_empty(), Reverse(s.range.end)));
        let mut schema = Schema { text: String::new(), at_run_time, wrong, regions: Vec::new() };
        schema.write(source, &sites, 0..source.len());
        Ok(schema)
    }

    /// All that stand in the text.
    pub fn ids(&self) -> BTreeSet<Id> {
        self.regions.iter().flat_map(|region| &region.ids).copied().collect()
    }

    /// All that stand in the text, each with the one that stands for its place.
    pub fn leaders(&self) -> impl Iterator<Item = (Id, Id)> {
        // What surrounds comes last, and counts.
        self.regions.iter().flat_map(|region| region.ids.iter().map(|id| (*id, region.ids[0])))
    }

    /// Those that an error at byte `at` can be due to, and whether it is in their
    /// own text; none if it is not theirs.
    pub fn blamed(&self, at: usize) -> (&[Id], bool) {
        let around = self.regions.iter().filter(|region| region.range.contains(&at));
        let closest = around.min_by_key(|region| region.range.len());
        closest.map_or((&[], false), |region| (&region.ids, region.is_own))
    }

    fn write(&mut self, source: &str, sites: &[Site], range: Range<usize>) {
        let (mut at, mut next) = (range.start, 0);
        while let Some(site) = sites.get(next) {
            next += 1;
            self.text += &source[at..site.range.start];
            at = site.range.end;
            if site.range.is_empty() {
                site.texts.iter().for_each(|(id, text)| self.region(text, *id));
                continue;
            }
            let inner = sites[next..].iter().take_while(|s| s.range.start < site.range.end).count();
            let begin = self.text.len();
            let leader = site.texts[0].0;
            self.text += &format!("(match crate::mutant({leader}) {{ ");
            for (id, text) in &site.texts {
                self.region(&format!("{id} => {text}, "), *id);
            }
            self.text += "_ => ";
            self.write(source, &sites[next..next + inner], site.range.clone());
            self.text += " })";
            let ids = site.texts.iter().map(|(id, _)| *id).collect();
            self.regions.push(Region { range: begin..self.text.len(), ids, is_own: false });
            next += inner;
        }
        self.text += &source[at..range.end];
    }

    fn region(&mut self, text: &str, id: Id) {
        let begin = self.text.len();
        self.text += text;
        let range = begin..self.text.len();
        self.regions.push(Region { range, ids: vec![id], is_own: true });
    }
}

/// Finds the sites of mutants.
struct Finder<'a> {
    source: &'a str,
    mutants: &'a [&'a Mutant],
    /// So many constants are around.
    constant: usize,
    in_const_fn: bool,
    /// An arm of the match around takes what the others leave.
    open: bool,
    at_run_time: BTreeSet<Id>,
    wrong: BTreeSet<Id>,
    sites: Vec<Site>,
}

fn range(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

impl Finder<'_> {
    /// The mutants of `genre` that begin at byte `at`.
    fn at(&self, genre: Genre, at: usize) -> impl Iterator<Item = &Mutant> {
        let is_here = move |m: &&&Mutant| m.genre == genre && m.span.range(self.source).start == at;
        self.mutants.iter().filter(is_here).copied()
    }

    /// Adds the site `range`, which for each mutant becomes what `text` says.
    fn add(&mut self, range: Range<usize>, texts: Vec<(Id, String)>) {
        let is_expression = |text: &str| syn::parse_str::<syn::Expr>(text).is_ok();
        let is_right = |text: &str| range.is_empty() || is_expression(text);
        let texts: Vec<_> = texts.into_iter().filter(|(_, text)| is_right(text)).collect();
        if self.constant == 0 && !texts.is_empty() {
            if self.in_const_fn {
                self.at_run_time.extend(texts.iter().map(|(id, _)| *id));
            }
            self.sites.push(Site { range, texts });
        }
    }

    /// `all` with its part `part` replaced.
    fn replaced(&self, all: &Range<usize>, part: &Range<usize>, by: &str) -> String {
        let source = self.source;
        format!("{}{by}{}", &source[all.start..part.start], &source[part.end..all.end])
    }

    fn add_operator(&mut self, genre: Genre, all: Range<usize>, operator: Range<usize>) {
        let mutants = self.at(genre, operator.start);
        let texts =
            mutants.map(|m| (m.id, self.replaced(&all, &operator, &m.replacement))).collect();
        self.add(all, texts);
    }

    fn add_body(&mut self, sig: &syn::Signature, block: &syn::Block) {
        let Some(first) = block.stmts.first().map(|first| range(first).start) else { return };
        // The first value returned would be the type of all.
        let opaque = self.source[range(&sig.output)].contains("impl ");
        if opaque {
            return;
        }
        let text = |m: &Mutant| {
            (m.id, format!("if crate::mutant({0}) == {0} {{ return {1}; }} ", m.id, m.replacement))
        };
        let texts = self.at(Genre::FnValue, first).map(text).collect();
        self.add(first..first, texts);
    }

    fn in_fn(&mut self, sig: &syn::Signature, block: &syn::Block, visit: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.in_const_fn, sig.constness.is_some());
        self.add_body(sig, block);
        visit(self);
        self.in_const_fn = before;
    }

    fn in_constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.constant += 1;
        visit(self);
        self.constant -= 1;
    }
}

/// Whether a pattern matches anything.
fn takes_all(pattern: &syn::Pat) -> bool {
    match pattern {
        syn::Pat::Wild(_) => true,
        // The other names are constants.
        syn::Pat::Ident(syn::PatIdent { ident, subpat: None, .. }) => {
            ident.to_string().starts_with(char::is_lowercase)
        }
        syn::Pat::Tuple(tuple) => tuple.elems.iter().all(takes_all),
        _ => false,
    }
}

/// Whether a condition declares something.
fn has_let(condition: &syn::Expr) -> bool {
    match condition {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        if has_let(&node.left) || has_let(&node.right) {
            // Conditions with `let` take no other operator.
            let here = self.at(Genre::BinaryOperator, range(&node.op).start);
            let here: Vec<Id> = here.map(|mutant| mutant.id).collect();
            self.wrong.extend(here);
        } else {
            self.add_operator(Genre::BinaryOperator, range(node), range(&node.op));
        }
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        self.add_operator(Genre::UnaryOperator, range(node), range(&node.op));
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        let all = range(node);
        let mut texts = Vec::new();
        for pair in node.fields.pairs() {
            let part = range(&pair);
            let mutants = self.at(Genre::StructField, part.start);
            texts.extend(mutants.map(|m| (m.id, self.replaced(&all, &part, ""))));
        }
        self.add(all, texts);
        visit::visit_expr_struct(self, node);
    }

    fn visit_expr_match(&mut self, node: &'ast syn::ExprMatch) {
        let all = |arm: &syn::Arm| arm.guard.is_none() && takes_all(&arm.pat);
        let before = std::mem::replace(&mut self.open, node.arms.iter().any(all));
        visit::visit_expr_match(self, node);
        self.open = before;
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let gone: Vec<Id> =
            self.at(Genre::MatchArm, range(node).start).map(|mutant| mutant.id).collect();
        if let Some((_, guard)) = &node.guard {
            let mut texts: Vec<_> = gone.iter().map(|id| (*id, "false".to_owned())).collect();
            let guard = range(guard);
            let mutants = self.at(Genre::MatchArmGuard, guard.start);
            texts.extend(mutants.map(|mutant| (mutant.id, mutant.replacement.clone())));
            self.add(guard, texts);
        } else if self.open && !takes_all(&node.pat) {
            let end = range(&node.pat).end;
            let text = |id: &Id| (*id, format!(" if crate::mutant({id}) != {id}"));
            self.add(end..end, gone.iter().map(text).collect());
        }
        visit::visit_arm(self, node);
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.in_fn(&node.sig, &node.block, |this| visit::visit_item_fn(this, node));
    }

    fn visit_impl_item_fn(&mut self, node: &'ast syn::ImplItemFn) {
        self.in_fn(&node.sig, &node.block, |this| visit::visit_impl_item_fn(this, node));
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        if let Some(block) = &node.default {
            self.add_body(&node.sig, block);
        }
        visit::visit_trait_item_fn(self, node);
    }

    fn visit_item_const(&mut self, node: &'ast syn::ItemConst) {
        self.in_constant(|this| visit::visit_item_const(this, node));
    }

    fn visit_item_static(&mut self, node: &'ast syn::ItemStatic) {
        self.in_constant(|this| visit::visit_item_static(this, node));
    }

    fn visit_impl_item_const(&mut self, node: &'ast syn::ImplItemConst) {
        self.in_constant(|this| visit::visit_impl_item_const(this, node));
    }

    fn visit_trait_item_const(&mut self, node: &'ast syn::TraitItemConst) {
        self.in_constant(|this| visit::visit_trait_item_const(this, node));
    }

    fn visit_type_array(&mut self, node: &'ast syn::TypeArray) {
        self.in_constant(|this| visit::visit_type_array(this, node));
    }

    fn visit_expr_repeat(&mut self, node: &'ast syn::ExprRepeat) {
        self.visit_expr(&node.expr);
    }

    fn visit_variant(&mut self, node: &'ast syn::Variant) {
        self.in_constant(|this| visit::visit_variant(this, node));
    }
}
