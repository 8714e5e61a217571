//! A head we take is one that httparse takes too, at the same length: what is added to it only ever refuses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(Ok((length, _))) = jimbot_core::http::parse_head(data) {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        assert_eq!(request.parse(data), Ok(httparse::Status::Complete(length)));
    }
});
