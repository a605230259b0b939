//! Projections, as JSON: when a budget runs out, whose work it hits, what would change it, and how right it was before.
//!
//! | room | shapes |
//! |---|---|
//! | [`accuracy`] | how right projections were |
//! | [`answer`] | a projection, with its path, its people and the fair split |
//! | [`figure`] | figures of a forecast as decimals |
//! | [`planned`] | work that is announced |
//! | [`what_if`] | what is changed in a what-if, and what a fair split is applied with |

pub mod accuracy;
pub mod answer;
pub mod figure;
pub mod planned;
pub mod what_if;
