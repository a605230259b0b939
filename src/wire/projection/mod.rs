//! Projections, as JSON: when a budget runs out, whose work it hits, what would change it, and how right it was before.
//!
//! | room | shapes |
//! |---|---|
//! | [`answer`] | a projection, with its path, its people and the fair split |
//! | [`figure`] | figures of a forecast as decimals |
//! | [`planned`] | work that is announced |

pub mod answer;
pub mod figure;
pub mod planned;
