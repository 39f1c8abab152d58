//! Whose telephone numbers are whose: the region that a number in E.164 belongs to, the regions that
//! an organisation sends to, and what a part costs there.

mod markets;
mod rates;
mod region;

pub use markets::Markets;
pub use rates::Rates;
pub use region::{Region, lengths_of, region, region_of};
