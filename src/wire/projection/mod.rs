//! Projections, as JSON: when a budget runs out, whose work it hits, what would change it, and how right it was before.
//!
//! | room | shapes |
//! |---|---|
//! | [`planned`] | work that is announced |

pub mod planned;
