//! Lists of names and values, in which libzfs_core takes arguments and gives answers.

use std::ffi::CStr;
use std::io;
use std::ptr::{self, NonNull};

use crate::ffi;

/// A list that libnvpair has allocated and this value owns. No name stands in it twice.
pub(crate) struct NvList(NonNull<ffi::nvlist_t>);

impl NvList {
    /// An empty list.
    pub(crate) fn new() -> io::Result<Self> {
        let mut list = ptr::null_mut();
        // SAFETY: `list` is a valid place for one pointer, which the call sets when it succeeds.
        check(unsafe { ffi::nvlist_alloc(&raw mut list, ffi::NV_UNIQUE_NAME, 0) })?;
        // SAFETY: the call has set `list` to a list that nobody else has.
        unsafe { Self::from_raw(list) }.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Takes over a list that a call gave; none of a null pointer.
    ///
    /// # Safety
    /// `list` is null or a list that nobody else owns.
    pub(crate) unsafe fn from_raw(list: *mut ffi::nvlist_t) -> Option<Self> {
        NonNull::new(list).map(Self)
    }

    /// The pointer for calls of C, which neither keep nor free it. It is valid as long as this value.
    pub(crate) fn as_ptr(&self) -> *mut ffi::nvlist_t {
        self.0.as_ptr()
    }

    /// Adds a name without a value.
    pub(crate) fn add_name(&mut self, name: &CStr) -> io::Result<()> {
        // SAFETY: the list and the string are valid, and the call copies the string.
        check(unsafe { ffi::nvlist_add_boolean(self.as_ptr(), name.as_ptr()) })
    }

    /// Adds a name with a string.
    pub(crate) fn add_string(&mut self, name: &CStr, value: &CStr) -> io::Result<()> {
        // SAFETY: the list and both strings are valid, and the call copies the strings.
        check(unsafe { ffi::nvlist_add_string(self.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }

    /// Adds a name with a copy of another list.
    pub(crate) fn add_list(&mut self, name: &CStr, value: &NvList) -> io::Result<()> {
        // SAFETY: both lists and the string are valid; the call copies the string and what is in the other list.
        check(unsafe { ffi::nvlist_add_nvlist(self.as_ptr(), name.as_ptr(), value.as_ptr()) })
    }

    /// The value of the first name, if it is a number of 32 bits: that is how error numbers are given, one a dataset.
    pub(crate) fn first_number(&self) -> Option<i32> {
        // SAFETY: the list is valid; a null pointer asks for its first pair, and null is the answer of an empty list.
        let first = unsafe { ffi::nvlist_next_nvpair(self.as_ptr(), ptr::null_mut()) };
        let first = NonNull::new(first)?;
        let mut number = 0;
        // SAFETY: the pair belongs to the list, which has not changed; `number` is a valid place for 32 bits. The call looks
        // at the type of the pair and fails for any other.
        let code = unsafe { ffi::nvpair_value_int32(first.as_ptr(), &raw mut number) };
        (code == 0).then_some(number)
    }
}

impl Drop for NvList {
    fn drop(&mut self) {
        // SAFETY: the value owns the list, and nothing uses it after this.
        unsafe { ffi::nvlist_free(self.as_ptr()) }
    }
}

/// The error with that number; none for 0.
pub(crate) fn check(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_taken_for_numbers() {
        let mut list = NvList::new().unwrap();
        assert_eq!(list.first_number(), None);
        list.add_string(c"tank@a", c"28").unwrap();
        assert_eq!(list.first_number(), None);
        let mut numbers = NvList::new().unwrap();
        // SAFETY: the list and the string are valid, and the call copies the string.
        check(unsafe { ffi::nvlist_add_int32(numbers.as_ptr(), c"tank@a".as_ptr(), 28) }).unwrap();
        numbers.add_name(c"tank@b").unwrap();
        assert_eq!(numbers.first_number(), Some(28));
    }

    #[test]
    fn a_list_keeps_copies_of_what_it_is_given() {
        let mut outer = NvList::new().unwrap();
        {
            let name = std::ffi::CString::new("inner").unwrap();
            let inner = NvList::new().unwrap();
            outer.add_list(&name, &inner).unwrap();
        }
        let mut found = ptr::null_mut();
        // SAFETY: the list and the string are valid, and `found` is a valid place for one pointer.
        check(unsafe { ffi::nvlist_lookup_nvlist(outer.as_ptr(), c"inner".as_ptr(), &raw mut found) })
            .unwrap();
        assert!(!found.is_null());
    }
}
