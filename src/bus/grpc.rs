//! The gRPC face of the bus.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use jimbot_core::time::SECOND;
use jimbot_proto::events::v1::event_bus_server::EventBus;
use jimbot_proto::events::v1::{
    AckLevel, DeleteDurableRequest, DeleteDurableResponse, DurableState, GetHistoryRequest,
    GetHistoryResponse, LastSequenceRequest, LastSequenceResponse, ListDurablesRequest,
    ListDurablesResponse, PublishBatchRequest, PublishBatchResponse, PublishEventRequest,
    PublishEventResponse, PublishRequest, PublishResponse, PublishResult, RejectReason, Rejection,
    SubscribeRequest, SubscribeResponse, last_sequence_request,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::filter::Filter;
use super::history::{Past, Query};
use super::publish::{Checked, check, result, status};
use super::publishers::Publisher;
use super::store::{Append, Submitted};
use super::{Bus, scan, subscribe};

/// Bytes of all publishing streams together after which each may have one batch under way.
const IN_FLIGHT_BYTES_ALL: usize = 64 << 20;
/// Batches of one publishing stream that are looked at and not stored yet: so many single events share a flush, whose time
/// bounds what a publisher of single events gets stored.
const IN_FLIGHT: usize = 512;
/// Answers that wait for the network.
const ANSWERS: usize = 32;
/// Bytes of them after which no further one is read.
const IN_FLIGHT_BYTES: usize = 8 << 20;

/// Serves a bus.
pub(super) struct Service(pub(super) Arc<Bus>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    async fn store(&self, checked: Checked) -> Result<PublishResult, Status> {
        let submitted = submit(&self.0, checked.append).await?;
        stored(&self.0, submitted, checked.rejections).await
    }
}

async fn submit(bus: &Bus, append: Append) -> Result<Submitted, Status> {
    let (offered, _) = bus.store.levels();
    if append.level > offered {
        let error = super::store::StoreError::Level { wanted: append.level, offered };
        return Err(status(&error));
    }
    bus.store.submit(append).await.map_err(|error| {
        bus.counters.failed();
        status(&error)
    })
}

async fn stored(
    bus: &Bus,
    submitted: Submitted,
    rejections: Vec<Rejection>,
) -> Result<PublishResult, Status> {
    let appended = submitted.stored().await.map_err(|error| {
        bus.counters.failed();
        status(&error)
    })?;
    bus.counters.published(&appended, &rejections);
    Ok(result(appended, rejections))
}

fn level(number: i32) -> Result<AckLevel, Status> {
    AckLevel::try_from(number)
        .map_err(|_| Status::invalid_argument(format!("ack_level: there is no level {number}")))
}

#[tonic::async_trait]
impl EventBus for Service {
    async fn publish_event(
        &self,
        request: Request<PublishEventRequest>,
    ) -> Result<Response<PublishEventResponse>, Status> {
        let request = request.into_inner();
        let mut batch = Vec::with_capacity(request.event.len() + 8);
        scan::push_element(&mut batch, &request.event);
        let checked = check(batch.into(), level(request.ack_level)?, None);
        if let Some(rejection) = checked.rejections.first() {
            self.0.counters.rejected(&checked.rejections);
            let reason = RejectReason::try_from(rejection.reason).unwrap_or_default();
            let message = format!("{}: {}", reason.as_str_name(), rejection.message);
            return Err(Status::invalid_argument(message));
        }
        let result = Some(self.store(checked).await?);
        Ok(Response::new(PublishEventResponse { result }))
    }

    async fn publish_batch(
        &self,
        request: Request<PublishBatchRequest>,
    ) -> Result<Response<PublishBatchResponse>, Status> {
        let request = request.into_inner();
        let checked = check(request.batch, level(request.ack_level)?, None);
        let result = Some(self.store(checked).await?);
        Ok(Response::new(PublishBatchResponse { result }))
    }

    type PublishStream = Answers<PublishResponse>;

    async fn publish(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS);
        tokio::spawn(take_in(Arc::clone(&self.0), request.into_inner(), answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type SubscribeStream = Answers<SubscribeResponse>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let place = self.0.subscription_place()?;
        let (out, stream) = mpsc::channel(subscribe::OUTBOX);
        let bus = Arc::clone(&self.0);
        tokio::spawn(async move {
            subscribe::run(bus, request.into_inner(), out).await;
            drop(place);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type GetHistoryStream = Answers<GetHistoryResponse>;

    async fn get_history(
        &self,
        request: Request<GetHistoryRequest>,
    ) -> Result<Response<Self::GetHistoryStream>, Status> {
        let request = request.into_inner();
        let filter = Filter::new(&request.filter.unwrap_or_default())
            .map_err(|bad| Status::invalid_argument(format!("filter: {bad}")))?;
        let cursor = match request.cursor.as_str() {
            "" => None,
            text => Some(text.parse().map_err(Status::invalid_argument)?),
        };
        let query = Query {
            filter,
            from_ns: request.from.as_ref().map(time_ns),
            to_ns: request.to.as_ref().map(time_ns),
            limit: request.limit,
            cursor,
        };
        let mut past = Past::new(&self.0, query).await.map_err(|error| status(&error))?;
        let (out, stream) = mpsc::channel(subscribe::OUTBOX);
        tokio::spawn(async move {
            loop {
                let (answer, last) = match past.next().await {
                    Ok(Some(cut)) => {
                        let super::cut::Cut { batch, positions } = cut;
                        let next_cursor = String::new();
                        (Ok(GetHistoryResponse { batch, positions, next_cursor }), false)
                    }
                    Ok(None) => {
                        let next_cursor = past.cursor();
                        (Ok(GetHistoryResponse { next_cursor, ..Default::default() }), true)
                    }
                    Err(error) => (Err(status(&error)), true),
                };
                if out.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn last_sequence(
        &self,
        request: Request<LastSequenceRequest>,
    ) -> Result<Response<LastSequenceResponse>, Status> {
        let publisher = match request.into_inner().publisher {
            Some(last_sequence_request::Publisher::LogEpoch(epoch)) => Publisher::Log(epoch),
            Some(last_sequence_request::Publisher::Producer(name)) => {
                Publisher::Producer(name.into())
            }
            None => return Err(Status::invalid_argument("publisher: name one")),
        };
        let last = self.0.store.last_sequence(&publisher).await.map_err(|error| status(&error))?;
        Ok(Response::new(LastSequenceResponse {
            found: last.is_some(),
            last_sequence: last.unwrap_or(0),
            ack_level: self.0.store.levels().1 as i32,
        }))
    }

    async fn list_durables(
        &self,
        _request: Request<ListDurablesRequest>,
    ) -> Result<Response<ListDurablesResponse>, Status> {
        let next = self.0.store.extent().next;
        let durables = self.0.durables().await.map_err(|error| status(&error))?;
        let durables = durables.into_iter().map(|(name, cursor, connected)| DurableState {
            name,
            next_position: cursor.next,
            lag_events: next.saturating_sub(cursor.next),
            unacked_events: cursor.unacked.len() as u64,
            connected,
        });
        Ok(Response::new(ListDurablesResponse { durables: durables.collect() }))
    }

    async fn delete_durable(
        &self,
        request: Request<DeleteDurableRequest>,
    ) -> Result<Response<DeleteDurableResponse>, Status> {
        let name = request.into_inner().name;
        // Taken as a subscriber would: nobody can resume it while it goes.
        let _held = self.0.hold(&name).map_err(|_| {
            Status::failed_precondition(format!(
                "durable `{name}` has a subscriber; end that one first"
            ))
        })?;
        let store = &self.0.store;
        if store.cursor(&name).await.map_err(|error| status(&error))?.is_none() {
            return Err(Status::not_found(format!("there is no durable `{name}`")));
        }
        store.set_cursor(&name, None).await.map_err(|error| status(&error))?;
        Ok(Response::new(DeleteDurableResponse {}))
    }
}

fn time_ns(time: &prost_types::Timestamp) -> u64 {
    u64::try_from(time.seconds).unwrap_or(0).saturating_mul(SECOND)
        + u64::try_from(time.nanos).unwrap_or(0)
}

type Storing = Pin<Box<dyn Future<Output = (usize, Result<PublishResponse, Status>)> + Send>>;

/// Takes in a stream of batches: many under way, stored in their order, answered in their order.
async fn take_in(
    bus: Arc<Bus>,
    mut batches: Streaming<PublishRequest>,
    answers: mpsc::Sender<Result<PublishResponse, Status>>,
) {
    let chain = Arc::new(AtomicBool::new(false));
    let mut storing: FuturesOrdered<Storing> = FuturesOrdered::new();
    let mut bytes = 0;
    let mut more = true;
    while more || !storing.is_empty() {
        let room = bytes == 0
            || storing.len() < IN_FLIGHT
                && bytes < IN_FLIGHT_BYTES
                && bus.publishing.used() < IN_FLIGHT_BYTES_ALL;
        tokio::select! {
            biased;
            Some((size, answer)) = storing.next(), if !storing.is_empty() => {
                bytes -= size;
                let failed = Result::is_err(&answer);
                if answers.send(answer).await.is_err() || failed {
                    chain.store(true, Ordering::Release);
                    return;
                }
            }
            batch = batches.next(), if more && room => match batch {
                Some(Ok(request)) => {
                    let size = request.batch.len();
                    bytes += size;
                    let counted = bus.publishing.hold((), size);
                    // One after the other, so that they are stored in their order.
                    let submitted = submit_batch(&bus, request, Arc::clone(&chain)).await;
                    let bus = Arc::clone(&bus);
                    storing.push_back(Box::pin(async move {
                        let answer = match submitted {
                            Ok(batch) => batch.answer(&bus).await,
                            Err(error) => Err(error),
                        };
                        drop(counted);
                        (size, answer)
                    }));
                }
                // A message that can't be read ends the stream; what came before it is answered first.
                Some(Err(error)) => {
                    more = false;
                    storing.push_back(Box::pin(async move { (0, Err(error)) }));
                }
                None => more = false,
            },
        }
    }
}

/// A batch of a stream that has its place in the store.
struct UnderWay {
    request_id: u64,
    submitted: Submitted,
    rejections: Vec<Rejection>,
}

async fn submit_batch(
    bus: &Bus,
    request: PublishRequest,
    chain: Arc<AtomicBool>,
) -> Result<UnderWay, Status> {
    let Checked { append, rejections } =
        check(request.batch, level(request.ack_level)?, Some(chain));
    let submitted = submit(bus, append).await?;
    Ok(UnderWay { request_id: request.request_id, submitted, rejections })
}

impl UnderWay {
    async fn answer(self, bus: &Bus) -> Result<PublishResponse, Status> {
        let result = Some(stored(bus, self.submitted, self.rejections).await?);
        Ok(PublishResponse { request_id: self.request_id, result })
    }
}
