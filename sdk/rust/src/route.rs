use crate::error::done;
use crate::{raw, Header, Request, Result};

/// A request that is looking for its target, in a plugin made by [`crate::router!`].
///
/// It reads like a [`Request`], and request headers may be set. Whoever decides nothing leaves the request to the routes of edge.yaml.
/// Of several decisions the last one counts.
pub struct Router {
    request: Request,
    decided: bool,
}

impl core::ops::Deref for Router {
    type Target = Request;
    fn deref(&self) -> &Request {
        &self.request
    }
}

impl Router {
    pub(crate) fn current() -> Router {
        Router { request: Request::current(), decided: false }
    }

    pub(crate) fn decided(&self) -> bool {
        self.decided
    }

    fn decide(&mut self, n: i32) -> Result<()> {
        done(n)?;
        self.decided = true;
        Ok(())
    }

    /// The header of the request.
    pub fn header(&self) -> Header<'_> {
        self.request.header()
    }

    /// To the route of edge.yaml with that name.
    pub fn to(&mut self, route: impl AsRef<[u8]>) -> Result<()> {
        let route = route.as_ref();
        self.decide(unsafe { raw::route_to(route.as_ptr(), route.len()) })
    }

    /// To a PHP pool.
    pub fn pool(&mut self, pool: impl AsRef<[u8]>) -> Result<()> {
        let pool = pool.as_ref();
        self.decide(unsafe { raw::route_pool(pool.as_ptr(), pool.len()) })
    }

    /// Sends the client elsewhere: 301, 302, 303, 307 or 308.
    pub fn redirect(&mut self, status: u16, url: impl AsRef<[u8]>) -> Result<()> {
        let url = url.as_ref();
        self.decide(unsafe { raw::route_redirect(status as u32, url.as_ptr(), url.len()) })
    }

    /// Answers with a status and its name.
    pub fn status(&mut self, code: u16) -> Result<()> {
        self.decide(unsafe { raw::route_status(code as u32) })
    }

    /// Changes path and query; this alone decides nothing.
    pub fn rewrite(&mut self, uri: impl AsRef<[u8]>) -> Result<()> {
        let uri = uri.as_ref();
        done(unsafe { raw::route_rewrite(uri.as_ptr(), uri.len()) })
    }

    /// For so long, requests that are equal in `parts` get this decision without a call. `parts` is a list such as
    /// `path,header:accept`, out of `method`, `host`, `path`, `query`, `ip`, `header:NAME`, `cookie:NAME`.
    pub fn cache(&mut self, parts: impl AsRef<[u8]>, ttl_ms: u32) -> Result<()> {
        let parts = parts.as_ref();
        done(unsafe { raw::route_cache(parts.as_ptr(), parts.len(), ttl_ms) })
    }
}
