//! The queues that batches are released to.

use carillon_broker::topology;
use carillon_contracts::{
    jobs::v1::{Channel, MessageClass},
    vocabulary::ChannelWord as _,
};

use crate::domain::record::CHANNELS;

const CLASSES: [MessageClass; 3] =
    [MessageClass::Otp, MessageClass::Transactional, MessageClass::Bulk];

/// Batches of one channel and class, of every organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Queue {
    pub channel: Channel,
    pub class: MessageClass,
}

impl Queue {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let of = |channel| CLASSES.into_iter().map(move |class| Self { channel, class });
        CHANNELS.into_iter().flat_map(of)
    }

    pub(crate) fn name(self) -> String {
        let class = match self.class {
            MessageClass::Otp => "otp",
            MessageClass::Transactional => "transactional",
            MessageClass::Bulk | MessageClass::Unspecified => "bulk",
        };
        topology::job_queue(self.channel.word(), class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_is_one_that_the_broker_has() {
        let known: Vec<String> = topology::queues().into_iter().map(|(name, _)| name).collect();
        let ours: Vec<String> = Queue::all().map(Queue::name).collect();
        assert_eq!(ours.len(), 6);
        assert!(ours.iter().all(|name| known.contains(name)), "{ours:?}");
    }
}
