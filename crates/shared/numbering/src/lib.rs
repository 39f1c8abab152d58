//! Whose telephone numbers are whose: the region that a number in E.164 belongs to, and the regions
//! that an organisation sends to.

mod markets;
mod region;

pub use markets::Markets;
pub use region::{Region, lengths_of, region, region_of};
