//! Crash enumeration of the catalog over the simulated disk.

mod crash;
mod seals;
mod world;
