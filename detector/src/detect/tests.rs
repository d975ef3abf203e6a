//! The engine as a whole: one file per question.

mod accounting;
mod blame;
mod bounds;
mod enrichment;
mod founding;
mod lineage;
mod listener;
mod load;
mod masquerade;
mod mining;
mod names;
mod respawn;
mod rules;
mod saturation;
mod scripts;
mod storm;
mod trust;
mod watch;
