//! What the engine costs: memory that does not grow, and work that grows with what there is to do.

mod cost;
mod memory;

#[global_allocator]
static HEAP: tests::heap::Counting = tests::heap::Counting;
