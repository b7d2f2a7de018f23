//! What `tidewire dev` prints once it serves.

use std::fmt;

/// The facts that it shows.
pub(crate) struct Banner<'a> {
    pub(crate) url: String,
    pub(crate) internal: String,
    pub(crate) token: String,
    pub(crate) embedded: bool,
    pub(crate) has_alerts: bool,
    pub(crate) rate: f64,
    pub(crate) seed: u64,
    pub(crate) taken: &'a [String],
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, internal, token, .. } = self;
        let ws = url.replacen("http", "ws", 1);
        writeln!(f)?;
        for line in self.taken {
            writeln!(f, "  note: {line}")?;
        }
        writeln!(f, "  Tidewire is running. Open {url}/ and watch voyages change.\n")?;
        if self.rate > 0.0 {
            let (rate, seed) = (self.rate, self.seed);
            writeln!(
                f,
                "  A simulated fleet makes {rate} changes a second (--rate, --seed {seed})."
            )?;
        }
        if self.embedded {
            writeln!(
                f,
                "  Broker and store are embedded and forget everything at the end: for development only."
            )?;
        }
        writeln!(f, "  Health and metrics: {internal}/health/ready  {internal}/metrics\n")?;
        writeln!(f, "  In another terminal:\n")?;
        // As this program was called, so that the line can be pasted.
        let program = std::env::args().next().unwrap_or_else(|| "tidewire".to_owned());
        writeln!(f, "    {program} watch Voyage '*' '*' --url {ws}\n")?;
        if self.has_alerts {
            writeln!(f, "    {program} script list --url {url}\n")?;
        }
        writeln!(f, "    TOKEN={token}\n")?;
        writeln!(
            f,
            "    curl -N -H \"Authorization: Bearer $TOKEN\" -H 'Accept: text/event-stream' \\\n      \
             {url}/ws/rest/WebSocketObjectSubscription/PortCall/U/*/-\n"
        )?;
        writeln!(
            f,
            "    curl -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n      \
             -d '{{\"objectType\":\"Port\",\"key\":1,\"operation\":\"C\",\"new\":{{\"key\":1,\"portName\":\"Bergen\"}},\"old\":null}}' \\\n      \
             {url}/api/v1/changes\n"
        )?;
        writeln!(f, "  Ctrl-C stops it.")
    }
}
