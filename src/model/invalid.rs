//! Why a value was refused: a fact about one field, in words a client's author can act on.
//!
//! Never: a status code or a protocol's message; those belong to the API that answers.

/// One broken rule of the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A service name is 1 to 64 bytes long.
    #[error("service_name is missing or empty")]
    ServiceNameMissing,
    /// A service name is 1 to 64 bytes long.
    #[error("service_name has {got} bytes, at most {max} are allowed")]
    ServiceNameTooLong {
        /// Bytes that came.
        got: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// A registration says where its instance is.
    #[error("endpoint is missing")]
    EndpointMissing,
    /// An endpoint has both a type and a value.
    #[error("endpoint.{field} is missing or empty")]
    EndpointIncomplete {
        /// `type` or `value`.
        field: &'static str,
    },
    /// The type of an endpoint is one of five words.
    #[error("endpoint.type is {got:?}, wanted one of http, https, tcp, udp, user")]
    EndpointTypeUnknown {
        /// What came, shortened.
        got: Box<str>,
    },
    /// The value of an endpoint is 1 to 128 bytes long.
    #[error("endpoint.value has {got} bytes, at most {max} are allowed")]
    EndpointValueTooLong {
        /// Bytes that came.
        got: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// The status of a registration is one of three words.
    #[error("status is {got:?}, wanted one of UP, STARTING, OUT_OF_SERVICE")]
    StatusUnknown {
        /// What came, shortened.
        got: Box<str>,
    },
    /// Metadata is bounded in size.
    #[error("metadata has {got} bytes, at most {max} are allowed")]
    MetadataTooLong {
        /// Bytes that came.
        got: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// Metadata is JSON that every reader of a list can read.
    #[error("metadata {why}")]
    MetadataUnreadable {
        /// What other readers would stumble over.
        why: &'static str,
    },
    /// A namespace is 1 to 256 bytes long.
    #[error("the namespace is empty")]
    NamespaceMissing,
    /// A namespace is 1 to 256 bytes long.
    #[error("the namespace has {got} bytes, at most {max} are allowed")]
    NamespaceTooLong {
        /// Bytes that came.
        got: usize,
        /// Bytes that are allowed.
        max: usize,
    },
}

// === impl Invalid ===

impl Invalid {
    /// The field that broke the rule, as a path in the body of a registration.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::ServiceNameMissing | Self::ServiceNameTooLong { .. } => "service_name",
            Self::EndpointMissing => "endpoint",
            Self::EndpointIncomplete { field: "type" } | Self::EndpointTypeUnknown { .. } => "endpoint.type",
            Self::EndpointIncomplete { .. } | Self::EndpointValueTooLong { .. } => "endpoint.value",
            Self::StatusUnknown { .. } => "status",
            Self::MetadataTooLong { .. } | Self::MetadataUnreadable { .. } => "metadata",
            Self::NamespaceMissing | Self::NamespaceTooLong { .. } => "namespace",
        }
    }

    /// What came, in a few words; long text is named by its length only.
    #[must_use]
    pub fn got(&self) -> String {
        match self {
            Self::ServiceNameMissing
            | Self::EndpointMissing
            | Self::EndpointIncomplete { .. }
            | Self::NamespaceMissing => "nothing".into(),
            Self::EndpointTypeUnknown { got } | Self::StatusUnknown { got } => got.to_string(),
            Self::ServiceNameTooLong { got, .. }
            | Self::EndpointValueTooLong { got, .. }
            | Self::MetadataTooLong { got, .. }
            | Self::NamespaceTooLong { got, .. } => format!("{got} bytes"),
            Self::MetadataUnreadable { why } => (*why).into(),
        }
    }

    /// What would have been accepted.
    #[must_use]
    pub fn wanted(&self) -> String {
        match self {
            Self::ServiceNameMissing => "text of 1 to 64 bytes".into(),
            Self::EndpointMissing => "an object with type and value".into(),
            Self::EndpointIncomplete { field: "type" } | Self::EndpointTypeUnknown { .. } => {
                "one of http, https, tcp, udp, user".into()
            }
            Self::EndpointIncomplete { .. } => "text of 1 to 128 bytes".into(),
            Self::StatusUnknown { .. } => "one of UP, STARTING, OUT_OF_SERVICE".into(),
            Self::ServiceNameTooLong { max, .. }
            | Self::EndpointValueTooLong { max, .. }
            | Self::MetadataTooLong { max, .. }
            | Self::NamespaceTooLong { max, .. } => format!("at most {max} bytes"),
            Self::MetadataUnreadable { .. } => "JSON as RFC 8259 has it, at most 32 levels deep".into(),
            Self::NamespaceMissing => "text of 1 to 256 bytes".into(),
        }
    }
}

/// The first characters of what came, so that an error never repeats a client's whole body.
pub(super) fn excerpt(text: &str) -> Box<str> {
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    }
}
