//! Crash enumeration of the log over the simulated disk.

mod crash;
mod faults;
mod world;
