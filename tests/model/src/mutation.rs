//! The mechanisms that can be taken out, one at a time.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutation {
    /// Whatever was delivered is sent, whatever the claim returned.
    Claim,
    /// A delivery counts as accepted, and is acked, before its rows are recorded. This takes out two things: the
    /// order of record and ack, and the rule that acceptance is what the rows say. [`Self::AckOrder`] is the first alone.
    RecordBeforeAck,
    /// Only the ack comes early; acceptance is still what the rows say. This breaks no promise: a batch whose delivery
    /// is lost is not accepted, so it is released again. The order alone only saves the wait for that.
    AckOrder,
    /// A job that was released once is never released again.
    ReleaseAgain,
    /// A row that waits is not claimed again.
    Retry,
    /// A batch that was granted too little asks once.
    AskAgain,
    /// An outbox row leaves at the broker's confirm.
    Marks,
    /// A dead epoch may still claim.
    EpochFence,
    /// Any claim may be recorded over the row, whoever claimed it since.
    EpochRecord,
    /// A record is matched by epoch and attempt, as if attempts were never undone.
    ClaimNumber,
    /// A record is written over whatever became of the row meanwhile.
    RecordState,
    /// Read-back takes rows of a claim whose answer may still come.
    ClaimIsOver,
    /// A claim that is given up frees its permits at once.
    PermitsAreKept,
    /// A call may begin after the deadline.
    DeadlineCheck,
    /// A worker whose epoch is dead may still begin a call.
    HeartbeatCheck,
    /// A worker with a new epoch still calls for claims of the old one.
    OldClaims,
    /// Each `Hold` grants afresh.
    MonotoneHold,
    /// A closed batch may be granted more.
    ClosedIsRemembered,
    /// A claim takes more rows than were granted.
    GrantCheck,
    /// An event's totals are counted when it is published.
    TotalsAtCommit,
    /// The totals that arrive last win.
    TotalsVersion,
    /// The change of a message that arrives last wins.
    DetailVersion,
    /// Changes of messages are taken from the newest totals only.
    DetailsOfEveryEvent,
    /// A late transient outcome turns a doubtful `unknown` into `failed`.
    DoubtIsKept,
    /// The block is stored although nothing is open any more.
    BlockCheck,
    /// The sealed block is not stored before the ack.
    BlockBeforeAck,
    /// A claim asks for no halt.
    HaltAtClaim,
    /// A call may begin however long ago its message was cleared.
    Clearance,
    /// "In effect" is answered once the order is stored.
    AnswerAtMark,
    /// The order that arrives last wins.
    HaltVersion,
    /// What a halt or an opt-out left waiting is not settled.
    HaltSettles,
    /// What was cancelled expires once the deadline has passed.
    CancelFirst,
    /// A step of the plan is stored wherever the cursor stands by then.
    CursorAgain,
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mutation::Claim => "the claim",
            Mutation::RecordBeforeAck => "record before ack",
            Mutation::AckOrder => "the order of record and ack alone",
            Mutation::ReleaseAgain => "release again",
            Mutation::Retry => "later attempts",
            Mutation::AskAgain => "asking again for money",
            Mutation::Marks => "the marks",
            Mutation::EpochFence => "the epoch check of a claim",
            Mutation::EpochRecord => "the epoch check of a record",
            Mutation::ClaimNumber => "the claim's number in a record",
            Mutation::RecordState => "the states that a record may be written over",
            Mutation::ClaimIsOver => "the wait for a claim's end before its rows are read back",
            Mutation::PermitsAreKept => "the permits of a claim that was given up",
            Mutation::DeadlineCheck => "the deadline's check before a call",
            Mutation::HeartbeatCheck => "the heartbeat check before a call",
            Mutation::OldClaims => "the end of old claims at a new epoch",
            Mutation::MonotoneHold => "the monotone hold",
            Mutation::ClosedIsRemembered => "the memory of closed batches",
            Mutation::GrantCheck => "the grant's check in a claim",
            Mutation::TotalsAtCommit => "the count of totals in the transaction that changes them",
            Mutation::TotalsVersion => "the totals' version",
            Mutation::DetailVersion => "the version of a message's last change",
            Mutation::DetailsOfEveryEvent => "the changes told by an event that others overtook",
            Mutation::DoubtIsKept => "the doubt of a doubtful row",
            Mutation::BlockCheck => "the check before a block is stored",
            Mutation::BlockBeforeAck => "the block before the ack",
            Mutation::HaltAtClaim => "the halt's check in a claim",
            Mutation::Clearance => "the clearance's check before a call",
            Mutation::AnswerAtMark => "the wait for the mark before \"in effect\"",
            Mutation::HaltVersion => "the version of a halt",
            Mutation::HaltSettles => "the settling of what a halt left waiting",
            Mutation::CancelFirst => "the precedence of a cancel over the deadline",
            Mutation::CursorAgain => "the second reading of the plan's cursor",
        })
    }
}
