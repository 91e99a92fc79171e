//! Lists that may be a single object instead, as old servers write those of one element (spec eureka section 2.4).
//!
//! Never: takes anything but objects for elements.

use serde::de::{MapAccess, SeqAccess};

use crate::wire::lenient::{As, Given, Members, Object, Shape, Unreadable};

/// Objects in a list, one object without a list around it, or what came instead.
#[derive(Debug)]
pub(super) enum OneOrMany<'a, T> {
    /// The elements.
    Many(Vec<Object<'a, T>>),
    /// No list and no object.
    Instead(Given<'a>),
}

impl<T> Default for OneOrMany<'_, T> {
    fn default() -> Self {
        Self::Instead(Given::Nothing)
    }
}

impl<'a, T> OneOrMany<'a, T> {
    /// The elements; nothing and `null` are none.
    ///
    /// # Errors
    /// When it is no list, or an element is no object.
    pub(super) fn judge(self, field: &'static str) -> Result<Option<Vec<T>>, Unreadable> {
        match self {
            Self::Instead(Given::Nothing | Given::Null) => Ok(None),
            Self::Instead(given) => Err(given.wrong(field, "a list of objects")),
            Self::Many(objects) => {
                let element = |object: Object<'a, T>| {
                    object.into_members().map_err(|given| given.wrong(field, "a list of objects"))
                };
                objects.into_iter().map(element).collect::<Result<_, _>>().map(Some)
            }
        }
    }
}

impl<'a, T: Members<'a>> Shape<'a> for OneOrMany<'a, T> {
    fn given(given: Given<'a>) -> Self {
        Self::Instead(given)
    }

    fn list<A: SeqAccess<'a>>(mut list: A) -> Result<Self, A::Error> {
        let mut objects = Vec::new();
        while let Some(As(object)) = list.next_element::<As<_>>()? {
            objects.push(object);
        }
        Ok(Self::Many(objects))
    }

    fn object<A: MapAccess<'a>>(object: A) -> Result<Self, A::Error> {
        Object::object(object).map(|only| Self::Many(vec![only]))
    }
}
