//! What is written is read back, and what cannot be read is said.
