//! The engine as a whole: one file per question.

mod accounting;
mod bounds;
mod enrichment;
mod founding;
mod lineage;
mod listener;
mod mining;
mod load;
mod rules;
