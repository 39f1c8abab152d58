//! What may be asked of a campaign in which state, and what it becomes.

use carillon_contracts::{campaign::v1::CampaignState, events::v1::Halt};

/// What somebody asks of a started campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Pause,
    Resume,
    Cancel,
}

/// Why an order can't be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotStarted,
    Cancelled,
    Finished,
}

impl Order {
    pub(crate) fn halt(self) -> Halt {
        match self {
            Self::Pause => Halt::Paused,
            Self::Resume => Halt::Running,
            Self::Cancel => Halt::Cancelled,
        }
    }

    /// The state after it: the same where nothing changes. `begun` says whether a run of the
    /// campaign has begun.
    pub(crate) fn applied(
        self,
        state: CampaignState,
        begun: bool,
    ) -> Result<CampaignState, Refusal> {
        use CampaignState::{Cancelled, Draft, Finished, Paused, Running, Scheduled, Unspecified};
        match (state, self) {
            (Unspecified | Draft, _) => Err(Refusal::NotStarted),
            (Cancelled, Self::Cancel) => Ok(Cancelled),
            (Cancelled, _) => Err(Refusal::Cancelled),
            (Finished, _) => Err(Refusal::Finished),
            (Scheduled | Running | Paused, Self::Cancel) => Ok(Cancelled),
            (Scheduled | Running | Paused, Self::Pause) => Ok(Paused),
            (Paused, Self::Resume) => Ok(if begun { Running } else { Scheduled }),
            (Scheduled | Running, Self::Resume) => Ok(state),
        }
    }
}

/// Whether it may be put away: nothing of it is to be sent any more, or ever was.
pub(crate) fn may_be_archived(state: CampaignState) -> bool {
    use CampaignState::{Cancelled, Draft, Finished};
    matches!(state, Draft | Cancelled | Finished)
}

/// The vocabulary's word for a state.
pub(crate) fn word(state: CampaignState) -> &'static str {
    match state {
        CampaignState::Unspecified => "unspecified",
        CampaignState::Draft => "draft",
        CampaignState::Scheduled => "scheduled",
        CampaignState::Running => "running",
        CampaignState::Paused => "paused",
        CampaignState::Cancelled => "cancelled",
        CampaignState::Finished => "finished",
    }
}

/// A run of the campaign began.
pub(crate) fn begun(state: CampaignState) -> Option<CampaignState> {
    (state == CampaignState::Scheduled).then_some(CampaignState::Running)
}

/// Every message of every run is settled, and no more follow.
pub(crate) fn ended(state: CampaignState) -> Option<CampaignState> {
    use CampaignState::{Finished, Paused, Running, Scheduled};
    matches!(state, Scheduled | Running | Paused).then_some(Finished)
}

#[cfg(test)]
mod tests {
    use CampaignState::{Cancelled, Draft, Finished, Paused, Running, Scheduled};

    use super::*;

    #[test]
    fn every_order_in_every_state() {
        use Order::{Cancel, Pause, Resume};
        for (state, order, becomes) in [
            (Draft, Pause, Err(Refusal::NotStarted)),
            (Draft, Resume, Err(Refusal::NotStarted)),
            (Draft, Cancel, Err(Refusal::NotStarted)),
            (Scheduled, Pause, Ok(Paused)),
            (Scheduled, Resume, Ok(Scheduled)),
            (Scheduled, Cancel, Ok(Cancelled)),
            (Running, Pause, Ok(Paused)),
            (Running, Resume, Ok(Running)),
            (Running, Cancel, Ok(Cancelled)),
            (Paused, Pause, Ok(Paused)),
            (Paused, Resume, Ok(Running)),
            (Paused, Cancel, Ok(Cancelled)),
            (Cancelled, Pause, Err(Refusal::Cancelled)),
            (Cancelled, Resume, Err(Refusal::Cancelled)),
            (Cancelled, Cancel, Ok(Cancelled)),
            (Finished, Pause, Err(Refusal::Finished)),
            (Finished, Resume, Err(Refusal::Finished)),
            (Finished, Cancel, Err(Refusal::Finished)),
        ] {
            assert_eq!(order.applied(state, true), becomes, "{order:?} of {state:?}");
        }
        assert_eq!(Resume.applied(Paused, false), Ok(Scheduled), "it was paused before its time");
    }

    #[test]
    fn a_run_begins_what_was_scheduled_and_the_last_message_ends_what_may_then_be_archived() {
        let all = [Draft, Scheduled, Running, Paused, Cancelled, Finished];
        assert_eq!(all.map(begun), [None, Some(Running), None, None, None, None]);
        let end = Some(Finished);
        assert_eq!(all.map(ended), [None, end, end, end, None, None]);
        assert_eq!(all.map(may_be_archived), [true, false, false, false, true, true]);
    }
}
