//! What users of other systems complain of, and must not meet here. One test or more for each complaint, named by its letter
//! where the same behaviour is not already proved in `lane` (A, N, P, U, V, W) or `faults` (B, C, F).

mod boundaries;
mod money;
mod numbers;
mod verdicts;
