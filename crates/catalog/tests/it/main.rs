//! Crash enumeration of the catalog over the simulated disk.

mod behind;
mod crash;
mod large;
mod seals;
mod world;
