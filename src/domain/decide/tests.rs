//! The rules as tables: facts and proposal in, effects or refusal out, by the promises of the service.

mod forks;
mod points;
mod receipts;
mod sessions;
mod threads;
mod titles;
mod world;
