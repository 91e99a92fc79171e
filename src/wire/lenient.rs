//! JSON as Go reads it (spec amalgam8 section 2): keys in any letter case, unknown keys ignored, `null`
//! as absent, the last of doubled keys.
//!
//! A value of the wrong type does not stop the reading: it is kept as what it is ([`Given`]), so that the
//! error can name the field, what came and what was wanted. Texts are borrowed where they can be.
//! Never: recursion that a body can drive, or an error that repeats a body.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// JSON is UTF-8.
    #[error("the body is not UTF-8 after byte {valid}")]
    NotUtf8 {
        /// Bytes that are.
        valid: usize,
    },
    /// The grammar is broken, or something stands after the document.
    #[error("the body is not one JSON document: {why}")]
    NotJson {
        /// What was wrong, with line and column.
        why: Box<str>,
    },
    /// The grammar is broken, or it holds what no body needs.
    #[error("the body is not one XML document: {why}")]
    NotXml {
        /// What was wrong.
        why: Box<str>,
    },
    /// A value has another type than its field.
    #[error("{field} is {got}, wanted {wanted}")]
    WrongType {
        /// Path of the field in the body; `body` for the whole.
        field: &'static str,
        /// What came, in a few words.
        got: Box<str>,
        /// What would have been accepted.
        wanted: &'static str,
    },
}

/// A value, as far as the fields of our bodies are concerned: scalars whole, containers by name only.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Given<'a> {
    /// No such key.
    #[default]
    Nothing,
    /// `null`
    Null,
    /// `true` or `false`
    Flag(bool),
    /// A number without sign, fraction and exponent.
    Whole(u64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List,
    /// An object.
    Object,
}

/// What a value of any JSON type becomes; containers are drained unless the shape reads them.
pub trait Shape<'a>: Sized {
    /// From everything that is not read by [`Shape::list`] or [`Shape::object`].
    fn given(given: Given<'a>) -> Self;

    /// From a list.
    ///
    /// # Errors
    /// When the document is broken.
    fn list<A: SeqAccess<'a>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::given(Given::List))
    }

    /// From an object.
    ///
    /// # Errors
    /// When the document is broken.
    fn object<A: MapAccess<'a>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::given(Given::Object))
    }
}

/// The members of an object, one after the other.
pub trait Members<'a>: Default {
    /// Reads the value that belongs to `key`, also when the key is unknown.
    ///
    /// # Errors
    /// When the document is broken.
    fn member<A: MapAccess<'a>>(&mut self, key: &Key<'_>, object: &mut A) -> Result<(), A::Error>;
}

/// Bytes of a body since the last element of its list.
#[derive(Debug, Default)]
pub struct Gap(Cell<usize>);

/// A body that is given up when it goes on without an element.
struct Dense<'g, R> {
    body: R,
    gap: &'g Gap,
}

/// Makes a struct's fields the members of an object: `members!(Port { "$" => number, "raw" => raw by Raw::of })`. Keys
/// that are not named are passed over.
macro_rules! members {
    ($name:ident { $($key:literal => $field:ident $(by $make:expr)?),+ $(,)? }) => {
        impl<'a> $crate::wire::lenient::Members<'a> for $name<'a> {
            fn member<A: serde::de::MapAccess<'a>>(
                &mut self,
                key: &$crate::wire::lenient::Key<'_>,
                object: &mut A,
            ) -> Result<(), A::Error> {
                $(if key.is($key) {
                    self.$field = $crate::wire::lenient::members!(@value object $($make)?);
                    return Ok(());
                })+
                object.next_value::<serde::de::IgnoredAny>()?;
                Ok(())
            }
        }
    };
    (@value $object:ident) => {
        $object.next_value::<$crate::wire::lenient::As<_>>()?.0
    };
    (@value $object:ident $make:expr) => {
        $make($object.next_value()?)
    };
}

pub(super) use members;

/// An object whose members are read, or what came instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<'a, T>(Result<T, Given<'a>>);

/// A list of texts, or what came instead.
#[derive(Debug, Clone, PartialEq)]
pub enum Texts<'a> {
    /// As it should be.
    List(Vec<Cow<'a, str>>),
    /// A list whose first element of another type is this.
    Holds(Given<'a>),
    /// No list.
    Instead(Given<'a>),
}

/// The name of a member.
#[derive(Debug)]
pub struct Key<'a>(Cow<'a, str>);

/// Reads any shape: `object.next_value::<As<Texts>>()?.0`.
#[derive(Debug)]
pub struct As<T>(pub T);

/// Bytes that are read at once.
const READ_AHEAD: usize = 16 * 1024;
/// Most bytes of a list from one element to the next.
const GAP_MAX: usize = 1024 * 1024;

/// Reads a body that is exactly one JSON document.
///
/// # Errors
/// When it is not UTF-8, not JSON, or goes on after the document.
pub fn read<'a, T: Shape<'a>>(body: &'a [u8]) -> Result<T, Unreadable> {
    read_by(body, PhantomData).map(|As(shape)| shape)
}

/// The same by a reader that keeps what it needs as it goes, for bodies that are too long to be kept.
///
/// # Errors
/// When it is not UTF-8, not JSON, not what the reader wants, or goes on after the document.
pub fn read_by<'a, S: DeserializeSeed<'a>>(body: &'a [u8], reader: S) -> Result<S::Value, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|e| Unreadable::NotUtf8 { valid: e.valid_up_to() })?;
    let mut json = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize(&mut json).map_err(|e| not_json(&e))?;
    json.end().map_err(|e| not_json(&e))?;
    Ok(read)
}

/// The same of a body that is read as it comes; a text that nobody wants need not be UTF-8.
///
/// # Errors
/// When it is not JSON, not what the reader wants, goes on after the document, or cannot be read to its end.
pub fn read_from<S: DeserializeSeed<'static>>(from: impl Read, reader: S) -> Result<S::Value, Unreadable> {
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(READ_AHEAD, from));
    let read = reader.deserialize(&mut json).map_err(|e| not_json(&e))?;
    json.end().map_err(|e| not_json(&e))?;
    Ok(read)
}

/// The same of a list whose elements are handed over one after the other: a body is given up that goes on for more than a
/// mebibyte without one.
///
/// # Errors
/// Those of [`read_from`], and when it goes on so.
pub fn read_elements<S: DeserializeSeed<'static>>(
    from: impl Read,
    gap: &Gap,
    reader: S,
) -> Result<S::Value, Unreadable> {
    read_from(Dense { body: from, gap }, reader)
}

/// The first characters of what came, so that no error repeats a client's whole body.
#[must_use]
pub fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        Some((at, _)) => Cow::Owned(format!("{}...", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

pub(super) fn not_json(error: &serde_json::Error) -> Unreadable {
    Unreadable::NotJson { why: excerpt_of_message(&error.to_string()).into() }
}

/// Messages of the parser are short and hold nothing of the body but single characters; this only makes sure.
fn excerpt_of_message(message: &str) -> &str {
    message.char_indices().nth(120).map_or(message, |(at, _)| &message[..at])
}

// === impl Given ===

impl<'a> Given<'a> {
    /// As a text; nothing and `null` are none.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn text(self, field: &'static str) -> Result<Option<Cow<'a, str>>, Unreadable> {
        match self {
            Self::Nothing | Self::Null => Ok(None),
            Self::Text(text) => Ok(Some(text)),
            Self::Flag(_) | Self::Whole(_) | Self::Number(_) | Self::List | Self::Object => {
                Err(self.wrong(field, "a text"))
            }
        }
    }

    /// As a whole number of at most 32 bits, written without sign, fraction and exponent.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn whole32(self, field: &'static str) -> Result<Option<u32>, Unreadable> {
        const WANTED: &str = "a whole number from 0 to 4294967295";
        match self {
            Self::Nothing | Self::Null => Ok(None),
            Self::Whole(n) => u32::try_from(n).map(Some).map_err(|_| Self::Whole(n).wrong(field, WANTED)),
            Self::Text(_) | Self::Flag(_) | Self::Number(_) | Self::List | Self::Object => {
                Err(self.wrong(field, WANTED))
            }
        }
    }

    /// The error that this was given in place of something else.
    #[must_use]
    pub fn wrong(&self, field: &'static str, wanted: &'static str) -> Unreadable {
        Unreadable::WrongType { field, got: self.to_string().into(), wanted }
    }
}

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Null => f.write_str("null"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Whole(number) => write!(f, "the number {number}"),
            Self::Number(number) if *number == 0.0 || (1e-6..1e15).contains(&number.abs()) => {
                write!(f, "the number {number}")
            }
            // The plain notation of a double can have 300 digits.
            Self::Number(number) => write!(f, "the number {number:e}"),
            Self::Text(text) => write!(f, "the text {:?}", excerpt(text)),
            Self::List => f.write_str("a list"),
            Self::Object => f.write_str("an object"),
        }
    }
}

impl<'a> Shape<'a> for Given<'a> {
    fn given(given: Given<'a>) -> Self {
        given
    }
}

// === impl Gap ===

impl Gap {
    /// Here is an element.
    pub fn close(&self) {
        self.0.set(0);
    }
}

// === impl Dense ===

impl<R: Read> Read for Dense<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(into)?;
        let gap = self.gap.0.get().saturating_add(count);
        self.gap.0.set(gap);
        if GAP_MAX < gap { Err(io::Error::other("it goes on without anything to read")) } else { Ok(count) }
    }
}

// === impl Object ===

impl<T> Default for Object<'_, T> {
    fn default() -> Self {
        Self(Err(Given::Nothing))
    }
}

impl<'a, T> Object<'a, T> {
    /// The members; nothing and `null` are none.
    ///
    /// # Errors
    /// When it is no object.
    pub fn members(self, field: &'static str) -> Result<Option<T>, Unreadable> {
        match self.0 {
            Ok(members) => Ok(Some(members)),
            Err(Given::Nothing | Given::Null) => Ok(None),
            Err(given) => Err(given.wrong(field, "an object")),
        }
    }

    /// The members, or what came instead.
    ///
    /// # Errors
    /// What came instead.
    pub fn into_members(self) -> Result<T, Given<'a>> {
        self.0
    }
}

impl<'a, T: Members<'a>> Shape<'a> for Object<'a, T> {
    fn given(given: Given<'a>) -> Self {
        Self(Err(given))
    }

    fn object<A: MapAccess<'a>>(mut object: A) -> Result<Self, A::Error> {
        let mut members = T::default();
        while let Some(key) = object.next_key::<Key<'a>>()? {
            members.member(&key, &mut object)?;
        }
        Ok(Self(Ok(members)))
    }
}

// === impl Texts ===

impl Default for Texts<'_> {
    fn default() -> Self {
        Self::Instead(Given::Nothing)
    }
}

impl<'a> Texts<'a> {
    /// The texts; nothing and `null` are none.
    ///
    /// # Errors
    /// When it is no list, or one of its elements is no text.
    pub fn texts(self, field: &'static str) -> Result<Option<Vec<Cow<'a, str>>>, Unreadable> {
        const WANTED: &str = "a list of texts";
        match self {
            Self::List(texts) => Ok(Some(texts)),
            Self::Instead(Given::Nothing | Given::Null) => Ok(None),
            Self::Instead(given) => Err(given.wrong(field, WANTED)),
            Self::Holds(given) => {
                let got = format!("a list that holds {given}").into();
                Err(Unreadable::WrongType { field, got, wanted: WANTED })
            }
        }
    }
}

impl<'a> Shape<'a> for Texts<'a> {
    fn given(given: Given<'a>) -> Self {
        Self::Instead(given)
    }

    fn list<A: SeqAccess<'a>>(mut list: A) -> Result<Self, A::Error> {
        let mut texts = Vec::new();
        let mut wrong = None;
        while let Some(As(element)) = list.next_element::<As<Given<'a>>>()? {
            match element {
                Given::Text(text) => texts.push(text),
                // Go reads a null among texts as an empty text.
                Given::Nothing | Given::Null => texts.push(Cow::Borrowed("")),
                Given::Flag(_) | Given::Whole(_) | Given::Number(_) | Given::List | Given::Object => {
                    wrong.get_or_insert(element);
                }
            }
        }
        Ok(wrong.map_or(Self::List(texts), Self::Holds))
    }
}

// === impl Key ===

impl Key<'_> {
    /// Whether it is this name in any letter case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(name.into())))
            }
        }
        from.deserialize_str(Name)
    }
}

// === impl As ===

impl<'de, T: Shape<'de>> Deserialize<'de> for As<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any(PhantomData)).map(Self)
    }
}

struct Any<T>(PhantomData<T>);

impl<'de, T: Shape<'de>> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::given(Given::Null))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<T, E> {
        Ok(T::given(Given::Flag(flag)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::given(Given::Whole(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::given(match u64::try_from(number) {
            Ok(whole) => Given::Whole(whole),
            // Only shown in an error, where a lost digit of 2^60 does not matter.
            Err(_) => Given::Number(number as f64),
        }))
    }

    fn visit_f64<E>(self, number: f64) -> Result<T, E> {
        Ok(T::given(Given::Number(number)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok(T::given(Given::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::given(Given::Text(Cow::Owned(text.into()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::object(object)
    }
}
