//! Consumers. Each has a channel of its own, and a task that answers for what it handed out: the
//! channel lives until the last delivery is answered, also after the consumer is gone.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, future::join_all};
use lapin::{
    Acker, Channel,
    message::Delivery as Message,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    },
    types::{AMQPValue, FieldTable},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;

use crate::{Consumer, Delivery, Receipt, Unavailable};

const DELIVERY_COUNT: &str = "x-delivery-count";
/// Answers sent before the next look at what has come.
const ANSWERS_AT_ONCE: usize = 256;

/// A subscription that brought nothing for so long ends, to be made anew. Where a queue is deleted,
/// and one of its name declared before the channel hears of it, RabbitMQ subscribes the channel to
/// that one by itself, and 3.10 then drops what it is sent: it counts as in hand, and nobody has it.
const RENEWED_AFTER: Duration = Duration::from_secs(30);

enum Answer {
    Ack(Acker),
    Requeue(Acker),
    /// The consumer is gone: what it fetched in advance goes back.
    Cancel(lapin::Consumer),
}

/// In a task of its own, which goes on where nobody waits for it any longer: what is granted then
/// is given back. lapin would keep it, and the broker deliver to nobody for ever.
pub(super) async fn start(
    channel: Channel,
    queue: &str,
    prefetch: u16,
    tasks: &TaskTracker,
) -> Result<lapin::Result<Box<dyn Consumer>>, Unavailable> {
    let subscribing = subscribe(channel, queue.to_owned(), prefetch, tasks.clone());
    tasks.spawn(subscribing).await.map_err(|ended| Unavailable(ended.to_string()))
}

async fn subscribe(
    channel: Channel,
    queue: String,
    prefetch: u16,
    tasks: TaskTracker,
) -> lapin::Result<Box<dyn Consumer>> {
    channel.basic_qos(prefetch.max(1), BasicQosOptions::default()).await?;
    let messages = channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    // Holds no more than the prefetch: the broker waits for answers.
    let (answers, given) = mpsc::unbounded_channel();
    tasks.spawn(answer(channel, given));
    Ok(Box::new(AmqpConsumer {
        messages: Some(messages),
        answers,
        heard_at: Instant::now(),
        in_hand: Arc::default(),
    }))
}

struct AmqpConsumer {
    /// None once it ended.
    messages: Option<lapin::Consumer>,
    answers: mpsc::UnboundedSender<Answer>,
    heard_at: Instant,
    /// Shared by every delivery that is not answered.
    in_hand: Arc<()>,
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            let messages = self.messages.as_mut()?;
            match timeout_at(self.heard_at + RENEWED_AFTER, messages.next()).await {
                Ok(Some(Ok(message))) => return Some(self.hand_out(message)),
                Ok(ended) => {
                    let error = ended.and_then(Result::err).map(|error| error.to_string());
                    tracing::debug!(error, "a subscription ended");
                    self.messages = None;
                }
                // Or each renewal would fetch as much again as is in hand.
                Err(_) if Arc::strong_count(&self.in_hand) > 1 => self.heard_at = Instant::now(),
                Err(_) => self.cancel(),
            }
        }
    }
}

impl AmqpConsumer {
    fn hand_out(&mut self, message: Message) -> Delivery {
        self.heard_at = Instant::now();
        let headers = message.properties.headers().as_ref();
        let receipt = AmqpReceipt {
            acker: message.acker,
            answers: self.answers.clone(),
            _in_hand: Arc::clone(&self.in_hand),
        };
        Delivery::new(
            message.data.into(),
            headers.map(texts).unwrap_or_default(),
            headers.map(delivery_count).unwrap_or_default(),
            Box::new(receipt),
        )
    }

    fn cancel(&mut self) {
        if let Some(messages) = self.messages.take() {
            let _ = self.answers.send(Answer::Cancel(messages));
        }
    }
}

impl Drop for AmqpConsumer {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// After the connection went there is nobody to answer: the broker has delivered again already.
struct AmqpReceipt {
    acker: Acker,
    answers: mpsc::UnboundedSender<Answer>,
    _in_hand: Arc<()>,
}

impl Receipt for AmqpReceipt {
    fn ack(self: Box<Self>) {
        let _ = self.answers.send(Answer::Ack(self.acker));
    }

    fn requeue(self: Box<Self>) {
        let _ = self.answers.send(Answer::Requeue(self.acker));
    }
}

async fn answer(channel: Channel, mut given: mpsc::UnboundedReceiver<Answer>) {
    let mut answers = Vec::new();
    while given.recv_many(&mut answers, ANSWERS_AT_ONCE).await > 0 {
        let mut sent = Vec::new();
        let mut cancelled = None;
        for answer in answers.drain(..) {
            match answer {
                Answer::Ack(acker) => sent.push((acker, true)),
                Answer::Requeue(acker) => sent.push((acker, false)),
                Answer::Cancel(messages) => cancelled = Some(messages),
            }
        }
        join_all(sent.iter().map(|(acker, done)| tell(acker, *done))).await;
        if let Some(messages) = cancelled {
            cancel(&channel, messages).await;
        }
    }
    if channel.status().connected() {
        let _ = channel.close(200, "OK".into()).await;
    }
}

/// An answer that does not arrive costs a repeated delivery and nothing else.
async fn tell(acker: &Acker, done: bool) {
    let told = if done {
        acker.ack(BasicAckOptions::default()).await
    } else {
        acker.nack(BasicNackOptions { multiple: false, requeue: true }).await
    };
    if let Err(error) = told {
        tracing::debug!(%error, "a delivery's answer was lost; it comes again");
    }
}

async fn cancel(channel: &Channel, mut messages: lapin::Consumer) {
    if channel.basic_cancel(messages.tag(), BasicCancelOptions::default()).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = messages.next().await {
        tell(&message.acker, false).await;
    }
}

fn texts(headers: &FieldTable) -> Vec<(String, String)> {
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    };
    headers
        .inner()
        .iter()
        .filter_map(|(key, value)| Some((key.to_string(), text(value)?)))
        .collect()
}

fn delivery_count(headers: &FieldTable) -> u32 {
    let count = match headers.inner().get(DELIVERY_COUNT) {
        Some(AMQPValue::LongLongInt(count)) => *count,
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        Some(AMQPValue::LongUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortUInt(count)) => i64::from(*count),
        _ => 0,
    };
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_texts_and_the_count_is_a_number_of_any_width() {
        let mut headers = FieldTable::default();
        headers.insert("carillon-seq".into(), AMQPValue::LongString("7".into()));
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(3));
        assert_eq!(texts(&headers), [("carillon-seq".to_owned(), "7".to_owned())]);
        assert_eq!(delivery_count(&headers), 3);
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::ShortShortUInt(200));
        assert_eq!(delivery_count(&headers), 200);
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(i64::MAX));
        assert_eq!(delivery_count(&headers), u32::MAX);
        assert_eq!(delivery_count(&FieldTable::default()), 0);
    }
}
