//! Result Set Management: which part of a long list somebody asks for, and which part they got.
//!
//! Source: XEP-0059 v1.0. Invariant: a page is never larger than the bound that its server gives, and an answer names
//! `<first/>` and `<last/>` exactly if the page holds something (§2.2).

use std::ops::Range;

use super::{
    element::Element,
    error::{Condition, StanzaError},
    ns,
};

/// What `<set/>` in a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Items wanted at most; zero asks for the count alone (§2.6).
    pub max: Option<usize>,
    /// Only what follows the item with this id (§2.2).
    pub after: Option<String>,
    /// Only what precedes the item with this id, and of that the end (§2.3); empty: the last page (§2.5).
    pub before: Option<String>,
    /// The page starts at this position in the whole list (§2.5).
    pub index: Option<usize>,
}

/// What `<set/>` in an answer tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Ids of the first and the last item; `None`: the page is empty.
    pub ends: Option<(String, String)>,
    /// Position of the first item in the whole list.
    pub index: Option<usize>,
    /// Items in the whole list.
    pub count: Option<usize>,
}

impl Request {
    /// Reads the `<set/>` in a request's payload; `None` if it has none.
    ///
    /// # Errors
    /// `bad-request` if `<max/>` or `<index/>` is no number.
    pub fn of(payload: &Element) -> Result<Option<Request>, StanzaError> {
        payload.find("set", ns::RSM).map(Request::parse).transpose()
    }

    /// Reads a `<set/>`.
    ///
    /// # Errors
    /// As [`Request::of`].
    pub fn parse(set: &Element) -> Result<Request, StanzaError> {
        let number = |name| match set.leaf_text(name) {
            Some(text) => match text.trim().parse::<usize>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(StanzaError::new(Condition::BadRequest)),
            },
            None => Ok(None),
        };
        Ok(Request {
            max: number("max")?,
            after: set.leaf_text("after").filter(|id| !id.is_empty()),
            before: set.leaf_text("before"),
            index: number("index")?,
        })
    }

    /// Items in a page: what was asked for, and no more than `bound`.
    pub fn size(&self, bound: usize) -> usize {
        self.max.unwrap_or(bound).min(bound)
    }

    /// Whether the page is taken from the end of what matches.
    pub fn is_backward(&self) -> bool {
        self.before.is_some()
    }

    /// The id that the page ends before; `None` also for the last page.
    pub fn before_id(&self) -> Option<&str> {
        self.before.as_deref().filter(|id| !id.is_empty())
    }

    /// The part of a list of `len` items that is asked for, for lists that are held whole. `place` tells the position of
    /// an id.
    ///
    /// # Errors
    /// `item-not-found` if an id is unknown (§2.4).
    pub fn window(
        &self,
        len: usize,
        bound: usize,
        place: impl Fn(&str) -> Option<usize>,
    ) -> Result<Range<usize>, StanzaError> {
        let find = |id: &str| place(id).ok_or(StanzaError::new(Condition::ItemNotFound));
        let size = self.size(bound);
        let low = match (&self.after, self.index) {
            (Some(id), _) => find(id)? + 1,
            (None, Some(index)) => index.min(len),
            (None, None) => 0,
        };
        let high = self.before_id().map(find).transpose()?.unwrap_or(len).max(low);
        Ok(match self.is_backward() {
            true => high - size.min(high - low)..high,
            false => low..low + size.min(high - low),
        })
    }
}

impl Page {
    /// A page of a list that is held whole: `range` of `len` items.
    pub fn of(range: &Range<usize>, len: usize, id: impl Fn(usize) -> String) -> Page {
        let filled = !range.is_empty();
        Page {
            ends: filled.then(|| (id(range.start), id(range.end - 1))),
            index: filled.then_some(range.start),
            count: Some(len),
        }
    }

    /// The answering `<set/>`.
    pub fn element(&self) -> Element {
        let mut set = Element::new("set", ns::RSM);
        if let Some((first, last)) = &self.ends {
            let index = self.index.map(|index| index.to_string());
            set = set.child(Element::new("first", ns::RSM).attr_if("index", index).text(first)).leaf("last", last);
        }
        match self.count {
            Some(count) => set.leaf("count", count.to_string()),
            None => set,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn request(inner: &str) -> Result<Request, StanzaError> {
        let xml = format!("<query xmlns='q'><set xmlns='http://jabber.org/protocol/rsm'>{inner}</set></query>");
        Request::of(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap()).map(Option::unwrap)
    }

    fn page(inner: &str) -> Result<String, StanzaError> {
        let place = |id: &str| LIST.iter().position(|other| *other == id);
        let range = request(inner)?.window(LIST.len(), 3, place)?;
        Ok(LIST[range].concat())
    }

    #[test]
    fn pages_go_forwards_and_backwards() {
        for (inner, expected) in [
            ("<max>2</max>", "ab"),
            ("", "abc"),
            ("<max>2</max><after>b</after>", "cd"),
            ("<max>2</max><after>e</after>", ""),
            ("<max>2</max><before>e</before>", "cd"),
            ("<max>2</max><before>a</before>", ""),
            ("<max>2</max><before/>", "de"),
            ("<max>2</max><index>3</index>", "de"),
            ("<max>2</max><index>9</index>", ""),
            ("<max>0</max>", ""),
            ("<max>9</max><after>a</after><before>d</before>", "bc"),
            ("<after>d</after><before>b</before>", ""),
        ] {
            assert_eq!(page(inner).unwrap(), expected, "{inner}");
        }
    }

    #[test]
    fn a_page_is_never_larger_than_the_server_allows() {
        assert_eq!(page("<max>4</max>").unwrap(), "abc");
        assert_eq!(page("<max>4</max><before/>").unwrap(), "cde");
    }

    #[test]
    fn unknown_ids_and_nonsense_are_refused() {
        assert_eq!(page("<after>x</after>").unwrap_err().condition, Condition::ItemNotFound);
        assert_eq!(page("<before>x</before>").unwrap_err().condition, Condition::ItemNotFound);
        for nonsense in ["<max>-1</max>", "<max>many</max>", "<index/>", "<max>99999999999999999999</max>"] {
            assert_eq!(page(nonsense).unwrap_err().condition, Condition::BadRequest, "{nonsense}");
        }
    }

    #[test]
    fn an_empty_page_has_no_ends() {
        let whole = Page::of(&(1..3), 5, |at| LIST[at].to_owned()).element();
        let ns = "xmlns='http://jabber.org/protocol/rsm'";
        let text = String::from_utf8(whole.to_vec()).unwrap();
        assert_eq!(text, format!("<set {ns}><first index='1'>b</first><last>c</last><count>5</count></set>"));
        let empty = Page::of(&(5..5), 5, |_| unreachable!()).element();
        assert_eq!(String::from_utf8(empty.to_vec()).unwrap(), format!("<set {ns}><count>5</count></set>"));
    }
}
