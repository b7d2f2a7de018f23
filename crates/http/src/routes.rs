//! Which route a request belongs to.

use std::sync::Arc;

use warp::http::Method;

use crate::{ApiHandler, ApiRoute};

/// Paths that the gate decides: everything below the first two, and the third itself.
const SOCKET_PREFIXES: [&str; 2] =
    ["/ws/rest/WebSocketObjectSubscription/", "/ws/rest/WebSocketAlertScript/"];
const SOCKET_PATH: &str = "/ws/v1";

pub(crate) fn is_socket_path(path: &str) -> bool {
    path == SOCKET_PATH || SOCKET_PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// The plain routes of a site, in the order in which they are tried.
pub(crate) struct Routes(Vec<Compiled>);

struct Compiled {
    segments: Vec<Segment>,
    /// The names of the `{name}` segments, in their order.
    names: Vec<String>,
    method: Method,
    cors: bool,
    handler: Arc<dyn ApiHandler>,
}

/// Literal before `{name}`: the order in which they are tried.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Any,
}

/// The answer to "who handles this".
pub(crate) enum Found<'a> {
    /// This one.
    Route { handler: &'a Arc<dyn ApiHandler>, params: Vec<(String, String)>, cors: bool },
    /// The path is known, the method is not.
    OtherMethods {
        /// For `Allow`.
        methods: Vec<Method>,
        cors: bool,
    },
    /// Nobody.
    Nothing,
}

impl Routes {
    pub(crate) fn new(routes: Vec<ApiRoute>) -> Self {
        let mut compiled: Vec<Compiled> = routes.into_iter().map(Compiled::new).collect();
        // Stable: of two equal patterns the first stays first.
        compiled.sort_by(|a, b| a.segments.cmp(&b.segments));
        Self(compiled)
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        // Only routes of the best matching pattern count: `GET /x/{any}` does not stand in for a
        // `POST /x/y`.
        let Some(best) = self.0.iter().find(|route| route.params(path).is_some()) else {
            return Found::Nothing;
        };
        let same = || self.0.iter().filter(|route| route.segments == best.segments);
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        if let Some(route) = same().find(|route| route.method == *wanted) {
            return Found::Route {
                handler: &route.handler,
                params: route.params(path).unwrap_or_default(),
                cors: route.cors,
            };
        }
        Found::OtherMethods {
            methods: same().map(|route| route.method.clone()).collect(),
            cors: same().any(|route| route.cors),
        }
    }
}

impl Compiled {
    fn new(route: ApiRoute) -> Self {
        let mut names = Vec::new();
        let segments = route
            .path
            .split('/')
            .map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => {
                    names.push(name.to_owned());
                    Segment::Any
                }
                None => Segment::Literal(part.to_owned()),
            })
            .collect();
        Self { segments, names, method: route.method, cors: route.cors, handler: route.handler }
    }

    /// What stands for the `{name}` segments; `None` where the path does not match.
    fn params(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut params = Vec::new();
        let mut parts = path.split('/');
        let mut names = self.names.iter();
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Literal(literal) if literal == part => {}
                Segment::Any if !part.is_empty() => {
                    params.push((names.next()?.clone(), part.to_owned()));
                }
                _ => return None,
            }
        }
        parts.next().is_none().then_some(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ApiRequest, Reply, Site, StatusCode};

    fn routes() -> Routes {
        let mut site = Site::new();
        for (method, path) in [
            (Method::GET, "/ws/rest/{type}/{key}"),
            (Method::GET, "/ws/rest/DLPAlertScript/{code}"),
            (Method::PUT, "/ws/rest/DLPAlertScript/{script}"),
            (Method::POST, "/api/v1/changes"),
            (Method::GET, "/health/live"),
            (Method::GET, "/"),
        ] {
            site = site.route(method, path, |_: ApiRequest| async { Reply::empty(StatusCode::OK) });
        }
        Routes::new(site.api)
    }

    #[test]
    fn requests_find_their_route() {
        let routes = routes();
        for (method, path, expected) in [
            ("GET", "/", "found"),
            ("HEAD", "/", "found"),
            ("POST", "/", "GET"),
            ("GET", "", "nothing"),
            ("GET", "//", "nothing"),
            ("GET", "*", "nothing"),
            ("POST", "/api/v1/changes", "found"),
            ("GET", "/api/v1/changes", "POST"),
            ("OPTIONS", "/api/v1/changes", "POST"),
            ("POST", "/api/v1/changes/", "nothing"),
            ("POST", "/API/v1/changes", "nothing"),
            ("POST", "/api/v1/%63hanges", "nothing"),
            ("GET", "/health/live", "found"),
            ("GET", "/health", "nothing"),
            ("GET", "/ws/rest/Voyage/7", "found type=Voyage key=7"),
            ("GET", "/ws/rest/Ticket/a%2Fb", "found type=Ticket key=a%2Fb"),
            ("GET", "/ws/rest/Voyage/", "nothing"),
            ("GET", "/ws/rest//7", "nothing"),
            ("GET", "/ws/rest/Voyage/7/8", "nothing"),
            ("PUT", "/ws/rest/Voyage/7", "GET"),
            ("GET", "/ws/rest/DLPAlertScript/X", "found code=X"),
            ("PUT", "/ws/rest/DLPAlertScript/X", "found script=X"),
            ("DELETE", "/ws/rest/DLPAlertScript/X", "GET PUT"),
        ] {
            let got = match routes.find(&method.parse().unwrap(), path) {
                Found::Route { params, .. } => {
                    params.iter().fold("found".to_owned(), |text, (name, value)| {
                        format!("{text} {name}={value}")
                    })
                }
                Found::OtherMethods { methods, .. } => {
                    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(" ")
                }
                Found::Nothing => "nothing".to_owned(),
            };
            assert_eq!(got, expected, "{method} {path}");
        }
    }

    #[test]
    fn socket_paths() {
        for (path, expected) in [
            ("/ws/v1", true),
            ("/ws/v1/", false),
            ("/ws/v11", false),
            ("/ws/rest/WebSocketObjectSubscription/Voyage/C/1/token", true),
            ("/ws/rest/WebSocketObjectSubscription/", true),
            ("/ws/rest/WebSocketObjectSubscription", false),
            ("/ws/rest/WebSocketAlertScript/X/token", true),
            ("/ws/rest/WebSocketAlertScripts/X/token", false),
            ("/ws/rest/Voyage/7", false),
            ("/", false),
        ] {
            assert_eq!(is_socket_path(path), expected, "{path}");
        }
    }
}
