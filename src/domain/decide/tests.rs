//! The rules as tables: facts and proposal in, effects or refusal out, by the promises of the service.

mod drivers;
mod engines;
mod forks;
mod imports;
mod points;
mod receipts;
mod replicas;
mod resumes;
mod retention;
mod rewinds;
mod sessions;
mod snapshots;
mod threads;
mod titles;
mod world;
