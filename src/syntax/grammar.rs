//! The pest parser made from `grammar/egress.pest`.

#[derive(pest_derive::Parser)]
#[grammar = "../grammar/egress.pest"]
pub(super) struct Egress;
