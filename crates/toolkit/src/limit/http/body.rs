//! Bodies of answers: those of the service below, or of a refusal.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::permit::Permit;

pin_project! {
    /// The body of an answer. A permit that the request holds is returned when the
    /// body has ended or is dropped. It is not renewed: one that the body outlives
    /// ends with the tier's window.
    #[derive(Debug)]
    pub struct LimitBody<B> {
        #[pin]
        served: Option<B>,
        refused: Option<Bytes>,
        permit: Option<Permit>,
    }
}

impl<B> LimitBody<B> {
    pub(super) fn served(body: B, permit: Option<Permit>) -> Self {
        LimitBody {
            served: Some(body),
            refused: None,
            permit,
        }
    }

    pub(super) fn refused(text: String) -> Self {
        LimitBody {
            served: None,
            refused: Some(text.into()),
            permit: None,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for LimitBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let Some(body) = this.served.as_pin_mut() else {
            return Poll::Ready(this.refused.take().map(|text| Ok(Frame::data(text))));
        };
        let polled = body.poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            *this.permit = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.served {
            Some(body) => body.is_end_stream(),
            None => self.refused.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.served {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(self.refused.as_ref().map_or(0, |it| it.len() as u64)),
        }
    }
}
