/// Calculates.
pub trait Calculator: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// Adds two numbers.
    fn add(
        &self,
        a: i64,
        b: i64,
    ) -> impl ::core::future::Future<Output = i64> + ::core::marker::Send;
    fn get(
        &self,
        ctx: &Context,
        key: &str,
        hint: &[u8],
    ) -> impl ::core::future::Future<
        Output = Result<Option<Vec<u8>>, KeyError>,
    > + ::core::marker::Send;
    fn sum(
        &self,
        scale: f64,
        numbers: Incoming<f64>,
    ) -> impl ::core::future::Future<Output = f64> + ::core::marker::Send;
    fn count(&self, to: u64) -> impl Stream<Item = u64> + ::core::marker::Send;
    fn echo(
        &self,
        words: Incoming<String>,
    ) -> impl ::core::future::Future<
        Output = impl Stream<Item = Vec<u8>> + ::core::marker::Send,
    > + ::core::marker::Send;
}
/// Calls `demo.Calculator` of a peer. Cheap to clone.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
#[allow(dead_code)]
pub struct CalculatorClient {
    client: ::rapace::__private::Client,
    direct: ::rapace::__private::Direct<dyn CalculatorDirect>,
}
#[allow(dead_code)]
impl CalculatorClient {
    /// Calls this peer.
    #[must_use]
    pub fn new(peer: &impl ::rapace::__private::AsCaller) -> Self {
        let (client, direct) = ::rapace::__private::Direct::client(peer);
        Self { client, direct }
    }
    /// The same client, which makes each call with these options.
    #[must_use]
    pub fn with_options(&self, options: ::rapace::__private::CallOptions) -> Self {
        Self {
            client: self.client.with_options(options),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client, whose calls may be run twice: one whose session ends is made again if the peer has come back.
    #[must_use]
    pub fn idempotent(&self) -> Self {
        Self {
            client: self.client.idempotent(),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client, which waits so long for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: ::core::time::Duration) -> Self {
        Self {
            client: self.client.with_deadline(deadline),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client, which sends these pairs beside each request.
    #[must_use]
    pub fn with_metadata(&self, metadata: ::rapace::__private::Metadata) -> Self {
        Self {
            client: self.client.with_metadata(metadata),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client, with one more interceptor around each call.
    #[must_use]
    pub fn intercepted_by(
        &self,
        interceptor: impl ::rapace::__private::Interceptor,
    ) -> Self {
        Self {
            client: self.client.intercepted_by(interceptor),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client for threads that block.
    #[must_use]
    pub fn blocking(&self) -> CalculatorBlockingClient {
        CalculatorBlockingClient {
            client: ::core::clone::Clone::clone(&self.client),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// What a registry holds of the service.
    pub fn describe() -> ::rapace::__private::ServiceBuilder {
        <Self as ::rapace::__private::Described>::describe()
    }
    /// Adds two numbers.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub async fn add(
        &self,
        a: i64,
        b: i64,
    ) -> ::core::result::Result<i64, ::rapace::__private::CallError> {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[0],
                )?;
            let answer = <dyn CalculatorDirect as CalculatorDirect>::add(
                direct.service(),
                &call,
                a,
                b,
            );
            let result = call.wait(answer).await;
            return call.end(result);
        }
        self.client
            .unary(
                &<CalculatorClient as ::rapace::__private::Described>::METHODS[0],
                &(&a, &b),
                ::rapace::__private::decode_owned::<i64>,
            )
            .await
    }
    /// Calls `demo.Calculator.get`.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub async fn get(
        &self,
        key: &str,
        hint: &[u8],
    ) -> ::core::result::Result<Option<Vec<u8>>, ::rapace::__private::Error<KeyError>> {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[1],
                )?;
            let context = direct.context(&self.client, &call);
            let answer = <dyn CalculatorDirect as CalculatorDirect>::get(
                direct.service(),
                &call,
                &context,
                key,
                hint,
            );
            let result = call.wait(answer).await;
            return ::rapace::__private::flatten(call.end(result));
        }
        ::rapace::__private::flatten(
            self
                .client
                .unary(
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[1],
                    &(&key, ::rapace::__private::Bytes::new(&hint)),
                    |bytes: &[u8]| {
                        ::rapace::__private::decode_owned::<
                            ::core::result::Result<
                                ::core::option::Option<::rapace::__private::ByteBuf>,
                                KeyError,
                            >,
                        >(bytes)
                            .map(|decoded| {
                                decoded.map(|value| value.map(|value| value.into_vec()))
                            })
                    },
                )
                .await,
        )
    }
    /// Calls `demo.Calculator.sum`.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub async fn sum(
        &self,
        scale: f64,
        numbers: impl ::rapace::__private::Stream<Item = f64> + ::core::marker::Send,
    ) -> ::core::result::Result<f64, ::rapace::__private::CallError> {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[2],
                )?;
            let (items, sending) = call.items(numbers);
            let answer = <dyn CalculatorDirect as CalculatorDirect>::sum(
                direct.service(),
                &call,
                scale,
                items,
            );
            let result = call.wait_sending(answer, sending).await;
            return call.end(result);
        }
        self.client
            .send(
                &<CalculatorClient as ::rapace::__private::Described>::METHODS[2],
                &scale,
                numbers,
                ::rapace::__private::encode::<f64>,
                ::rapace::__private::decode_owned::<f64>,
            )
            .await
    }
    /// Calls `demo.Calculator.count`.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub async fn count(
        &self,
        to: u64,
    ) -> ::core::result::Result<
        ::rapace::__private::Incoming<u64>,
        ::rapace::__private::CallError,
    > {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[3],
                )?;
            let answer = <dyn CalculatorDirect as CalculatorDirect>::count(
                direct.shared(),
                to,
            );
            return ::core::result::Result::Ok(call.receive(answer));
        }
        self.client
            .receive(
                &<CalculatorClient as ::rapace::__private::Described>::METHODS[3],
                &to,
                ::rapace::__private::decode_owned::<u64>,
            )
            .await
    }
    /// Calls `demo.Calculator.echo`.
    ///
    /// The items of the caller are sent while the stream that is returned is polled.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub async fn echo(
        &self,
        words: impl ::rapace::__private::Stream<
            Item = String,
        > + ::core::marker::Send + 'static,
    ) -> ::core::result::Result<
        ::rapace::__private::Incoming<Vec<u8>>,
        ::rapace::__private::CallError,
    > {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[4],
                )?;
            let (items, sending) = call.items(words);
            let answer = <dyn CalculatorDirect as CalculatorDirect>::echo(
                direct.shared(),
                items,
            );
            return ::core::result::Result::Ok(call.exchange(answer, sending));
        }
        self.client
            .exchange(
                &<CalculatorClient as ::rapace::__private::Described>::METHODS[4],
                &(),
                words,
                ::rapace::__private::encode::<String>,
                |bytes: &[u8]| {
                    ::rapace::__private::decode_owned::<
                        ::rapace::__private::ByteBuf,
                    >(bytes)
                        .map(|decoded| decoded.into_vec())
                },
            )
            .await
    }
}
/// Calls `demo.Calculator` of a peer, and blocks until the reply is there. Cheap to clone.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
#[allow(dead_code)]
pub struct CalculatorBlockingClient {
    client: ::rapace::__private::Client,
    direct: ::rapace::__private::Direct<dyn CalculatorDirect>,
}
#[allow(dead_code)]
impl CalculatorBlockingClient {
    /// Calls this peer.
    #[must_use]
    pub fn new(peer: &impl ::rapace::__private::AsCaller) -> Self {
        let (client, direct) = ::rapace::__private::Direct::client(peer);
        Self { client, direct }
    }
    /// The same client, which makes each call with these options.
    #[must_use]
    pub fn with_options(&self, options: ::rapace::__private::CallOptions) -> Self {
        Self {
            client: self.client.with_options(options),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client, whose calls may be run twice: one whose session ends is made again if the peer has come back.
    #[must_use]
    pub fn idempotent(&self) -> Self {
        Self {
            client: self.client.idempotent(),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client, which waits so long for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: ::core::time::Duration) -> Self {
        Self {
            client: self.client.with_deadline(deadline),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client, which sends these pairs beside each request.
    #[must_use]
    pub fn with_metadata(&self, metadata: ::rapace::__private::Metadata) -> Self {
        Self {
            client: self.client.with_metadata(metadata),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// The same client, with one more interceptor around each call.
    #[must_use]
    pub fn intercepted_by(
        &self,
        interceptor: impl ::rapace::__private::Interceptor,
    ) -> Self {
        Self {
            client: self.client.intercepted_by(interceptor),
            direct: ::core::clone::Clone::clone(&self.direct),
        }
    }
    /// Adds two numbers.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub fn add(
        &self,
        a: i64,
        b: i64,
    ) -> ::core::result::Result<i64, ::rapace::__private::CallError> {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin_blocking(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[0],
                )?;
            let answer = <dyn CalculatorDirect as CalculatorDirect>::add(
                direct.service(),
                &call,
                a,
                b,
            );
            let result = call.done(answer);
            return call.end(result);
        }
        self.client
            .unary_blocking(
                &<CalculatorClient as ::rapace::__private::Described>::METHODS[0],
                &(&a, &b),
                ::rapace::__private::decode_owned::<i64>,
            )
    }
    /// Calls `demo.Calculator.get`.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub fn get(
        &self,
        key: &str,
        hint: &[u8],
    ) -> ::core::result::Result<Option<Vec<u8>>, ::rapace::__private::Error<KeyError>> {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin_blocking(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[1],
                )?;
            let context = direct.context(&self.client, &call);
            let answer = <dyn CalculatorDirect as CalculatorDirect>::get(
                direct.service(),
                &call,
                &context,
                key,
                hint,
            );
            let result = call.done(answer);
            return ::rapace::__private::flatten(call.end(result));
        }
        ::rapace::__private::flatten(
            self
                .client
                .unary_blocking(
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[1],
                    &(&key, ::rapace::__private::Bytes::new(&hint)),
                    |bytes: &[u8]| {
                        ::rapace::__private::decode_owned::<
                            ::core::result::Result<
                                ::core::option::Option<::rapace::__private::ByteBuf>,
                                KeyError,
                            >,
                        >(bytes)
                            .map(|decoded| {
                                decoded.map(|value| value.map(|value| value.into_vec()))
                            })
                    },
                ),
        )
    }
    /// Calls `demo.Calculator.sum`.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub fn sum(
        &self,
        scale: f64,
        numbers: impl ::core::iter::IntoIterator<Item = f64>,
    ) -> ::core::result::Result<f64, ::rapace::__private::CallError> {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[2],
                )?;
            let (items, sending) = call
                .items_of(::core::iter::IntoIterator::into_iter(numbers));
            let answer = <dyn CalculatorDirect as CalculatorDirect>::sum(
                direct.service(),
                &call,
                scale,
                items,
            );
            let result = call.done_sending(answer, sending);
            return call.end(result);
        }
        self.client
            .send_blocking(
                &<CalculatorClient as ::rapace::__private::Described>::METHODS[2],
                &scale,
                numbers,
                ::rapace::__private::encode::<f64>,
                ::rapace::__private::decode_owned::<f64>,
            )
    }
    /// Calls `demo.Calculator.count`.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub fn count(
        &self,
        to: u64,
    ) -> ::core::result::Result<
        ::rapace::__private::BlockingIncoming<u64>,
        ::rapace::__private::CallError,
    > {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[3],
                )?;
            let answer = <dyn CalculatorDirect as CalculatorDirect>::count(
                direct.shared(),
                to,
            );
            return ::core::result::Result::Ok(
                ::rapace::__private::DirectCall::blocking(call.receive(answer)),
            );
        }
        self.client
            .receive_blocking(
                &<CalculatorClient as ::rapace::__private::Described>::METHODS[3],
                &to,
                ::rapace::__private::decode_owned::<u64>,
            )
    }
    /// Calls `demo.Calculator.echo`.
    ///
    /// The items of the caller are sent while the stream that is returned is polled.
    ///
    /// # Errors
    ///
    /// When there is no reply, or the callee answers with an error.
    pub fn echo(
        &self,
        words: impl ::core::iter::IntoIterator<
            Item = String,
            IntoIter: ::core::marker::Send + 'static,
        >,
    ) -> ::core::result::Result<
        ::rapace::__private::BlockingIncoming<Vec<u8>>,
        ::rapace::__private::CallError,
    > {
        if let ::core::option::Option::Some(direct) = self.direct.get() {
            let call = direct
                .begin(
                    &self.client,
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[4],
                )?;
            let (items, sending) = call
                .items_of(::core::iter::IntoIterator::into_iter(words));
            let answer = <dyn CalculatorDirect as CalculatorDirect>::echo(
                direct.shared(),
                items,
            );
            return ::core::result::Result::Ok(
                ::rapace::__private::DirectCall::blocking(call.exchange(answer, sending)),
            );
        }
        self.client
            .exchange_blocking(
                &<CalculatorClient as ::rapace::__private::Described>::METHODS[4],
                &(),
                words,
                ::rapace::__private::encode::<String>,
                |bytes: &[u8]| {
                    ::rapace::__private::decode_owned::<
                        ::rapace::__private::ByteBuf,
                    >(bytes)
                        .map(|decoded| decoded.into_vec())
                },
            )
    }
}
impl ::rapace::__private::Described for CalculatorClient {
    const METHODS: &'static [::rapace::__private::MethodInfo] = &[
        ::rapace::__private::MethodInfo {
            service: "demo.Calculator",
            name: "add",
            id: 1000,
            kind: ::rapace::__private::MethodKind::Unary,
        },
        ::rapace::__private::MethodInfo {
            service: "demo.Calculator",
            name: "get",
            id: 2195565326,
            kind: ::rapace::__private::MethodKind::Unary,
        },
        ::rapace::__private::MethodInfo {
            service: "demo.Calculator",
            name: "sum",
            id: 2263401597,
            kind: ::rapace::__private::MethodKind::ClientStreaming,
        },
        ::rapace::__private::MethodInfo {
            service: "demo.Calculator",
            name: "count",
            id: 3393913289,
            kind: ::rapace::__private::MethodKind::ServerStreaming,
        },
        ::rapace::__private::MethodInfo {
            service: "demo.Calculator",
            name: "echo",
            id: 4044615283,
            kind: ::rapace::__private::MethodKind::BidirectionalStreaming,
        },
    ];
    fn describe() -> ::rapace::__private::ServiceBuilder {
        ::rapace::__private::ServiceDescription::builder(
                "demo.Calculator",
                ::rapace::__private::Version::new(1, 0),
                ::rapace::__private::Provider::Either,
            )
            .method_with(
                "add",
                ::core::option::Option::Some(1000),
                ::rapace::__private::MethodKind::Unary,
                ::rapace::__private::arguments(
                    "add",
                    &[
                        ("a", <i64 as ::rapace::__private::Schema>::SCHEMA),
                        ("b", <i64 as ::rapace::__private::Schema>::SCHEMA),
                    ],
                ),
                ::core::convert::From::from(<i64 as ::rapace::__private::Schema>::SCHEMA),
            )
            .method_with(
                "get",
                ::core::option::Option::None,
                ::rapace::__private::MethodKind::Unary,
                ::rapace::__private::arguments(
                    "get",
                    &[
                        (
                            "key",
                            <::std::string::String as ::rapace::__private::Schema>::SCHEMA,
                        ),
                        (
                            "hint",
                            <::std::vec::Vec<u8> as ::rapace::__private::Schema>::SCHEMA,
                        ),
                    ],
                ),
                ::core::convert::From::from(
                    <Result<
                        Option<Vec<u8>>,
                        KeyError,
                    > as ::rapace::__private::Schema>::SCHEMA,
                ),
            )
            .method_with(
                "sum",
                ::core::option::Option::None,
                ::rapace::__private::MethodKind::ClientStreaming,
                ::rapace::__private::arguments(
                    "sum",
                    &[
                        ("scale", <f64 as ::rapace::__private::Schema>::SCHEMA),
                        ("numbers", <f64 as ::rapace::__private::Schema>::SCHEMA),
                    ],
                ),
                ::core::convert::From::from(<f64 as ::rapace::__private::Schema>::SCHEMA),
            )
            .method_with(
                "count",
                ::core::option::Option::None,
                ::rapace::__private::MethodKind::ServerStreaming,
                ::rapace::__private::arguments(
                    "count",
                    &[("to", <u64 as ::rapace::__private::Schema>::SCHEMA)],
                ),
                ::core::convert::From::from(<u64 as ::rapace::__private::Schema>::SCHEMA),
            )
            .method_with(
                "echo",
                ::core::option::Option::None,
                ::rapace::__private::MethodKind::BidirectionalStreaming,
                ::rapace::__private::arguments(
                    "echo",
                    &[("words", <String as ::rapace::__private::Schema>::SCHEMA)],
                ),
                ::core::convert::From::from(
                    <Vec<u8> as ::rapace::__private::Schema>::SCHEMA,
                ),
            )
    }
}
const _: () = ::rapace::__private::assert_bounded(
    <i64 as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <i64 as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <i64 as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <Result<Option<Vec<u8>>, KeyError> as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <f64 as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <f64 as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <f64 as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <u64 as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <u64 as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <String as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_bounded(
    <Vec<u8> as ::rapace::__private::Schema>::SCHEMA,
);
const _: () = ::rapace::__private::assert_not_named(
    <String as ::rapace::__private::Schema>::SCHEMA,
    "echo",
);
/// Serves `demo.Calculator` with an implementation of [`Calculator`].
#[allow(dead_code)]
pub struct CalculatorServer<Implementation> {
    implementation: ::std::sync::Arc<Implementation>,
}
#[allow(dead_code)]
impl<Implementation: Calculator> CalculatorServer<Implementation> {
    /// Serves with this implementation.
    #[must_use]
    pub fn new(implementation: Implementation) -> Self {
        Self::from_arc(::std::sync::Arc::new(implementation))
    }
    /// Serves with an implementation that others have, too.
    #[must_use]
    pub fn from_arc(implementation: ::std::sync::Arc<Implementation>) -> Self {
        Self { implementation }
    }
}
impl<Implementation> ::core::fmt::Debug for CalculatorServer<Implementation> {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.debug_struct("CalculatorServer").finish_non_exhaustive()
    }
}
impl<Implementation: Calculator> ::rapace::__private::Described
for CalculatorServer<Implementation> {
    const METHODS: &'static [::rapace::__private::MethodInfo] = <CalculatorClient as ::rapace::__private::Described>::METHODS;
    fn describe() -> ::rapace::__private::ServiceBuilder {
        <CalculatorClient as ::rapace::__private::Described>::describe()
    }
}
impl<Implementation: Calculator> ::rapace::__private::Service
for CalculatorServer<Implementation> {
    #[allow(deprecated)]
    fn serve(&self, call: ::rapace::__private::Call) {
        match call.method() {
            1000 => {
                let implementation = ::core::clone::Clone::clone(&self.implementation);
                call.run(
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[0],
                    move |context| async move {
                        let answer = match context.arguments::<(i64, i64)>() {
                            ::core::result::Result::Ok((a, b)) => {
                                let result = <Implementation as Calculator>::add(
                                        &implementation,
                                        a,
                                        b,
                                    )
                                    .await;
                                context.encode(&result)
                            }
                            ::core::result::Result::Err(status) => {
                                ::core::result::Result::Err(status)
                            }
                        };
                        context.answer(answer);
                    },
                );
            }
            2195565326 => {
                let implementation = ::core::clone::Clone::clone(&self.implementation);
                call.run(
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[1],
                    move |context| async move {
                        let answer = match context.arguments::<(&str, &[u8])>() {
                            ::core::result::Result::Ok((key, hint)) => {
                                let result = <Implementation as Calculator>::get(
                                        &implementation,
                                        &context,
                                        key,
                                        hint,
                                    )
                                    .await;
                                context
                                    .encode(
                                        &::core::result::Result::as_ref(&result)
                                            .map(|value| {
                                                ::core::option::Option::as_ref(value)
                                                    .map(|value| ::rapace::__private::Bytes::new(value))
                                            }),
                                    )
                            }
                            ::core::result::Result::Err(status) => {
                                ::core::result::Result::Err(status)
                            }
                        };
                        context.answer(answer);
                    },
                );
            }
            2263401597 => {
                let implementation = ::core::clone::Clone::clone(&self.implementation);
                call.run(
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[2],
                    move |context| async move {
                        let answer = match context.arguments::<f64>() {
                            ::core::result::Result::Ok(scale) => {
                                let result = <Implementation as Calculator>::sum(
                                        &implementation,
                                        scale,
                                        context.incoming(::rapace::__private::decode_owned::<f64>),
                                    )
                                    .await;
                                context.encode(&result)
                            }
                            ::core::result::Result::Err(status) => {
                                ::core::result::Result::Err(status)
                            }
                        };
                        context.answer(answer);
                    },
                );
            }
            3393913289 => {
                let implementation = ::core::clone::Clone::clone(&self.implementation);
                call.run(
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[3],
                    move |context| async move {
                        let answer = match context.arguments::<u64>() {
                            ::core::result::Result::Ok(to) => {
                                context
                                    .send(
                                        <Implementation as Calculator>::count(&implementation, to),
                                        ::rapace::__private::encode::<u64>,
                                    )
                                    .await
                            }
                            ::core::result::Result::Err(status) => {
                                ::core::result::Result::Err(status)
                            }
                        };
                        context.answer(answer);
                    },
                );
            }
            4044615283 => {
                let implementation = ::core::clone::Clone::clone(&self.implementation);
                call.run(
                    &<CalculatorClient as ::rapace::__private::Described>::METHODS[4],
                    move |context| async move {
                        let answer = match context.arguments::<()>() {
                            ::core::result::Result::Ok(()) => {
                                context
                                    .send(
                                        <Implementation as Calculator>::echo(
                                                &implementation,
                                                context
                                                    .incoming(::rapace::__private::decode_owned::<String>),
                                            )
                                            .await,
                                        |item: &Vec<u8>| ::rapace::__private::encode(
                                            ::rapace::__private::Bytes::new(item),
                                        ),
                                    )
                                    .await
                            }
                            ::core::result::Result::Err(status) => {
                                ::core::result::Result::Err(status)
                            }
                        };
                        context.answer(answer);
                    },
                );
            }
            _ => call.unimplemented(),
        }
    }
    fn direct(&self) -> ::core::option::Option<::rapace::__private::DirectService> {
        let service = Self {
            implementation: ::core::clone::Clone::clone(&self.implementation),
        };
        let service: ::std::sync::Arc<dyn CalculatorDirect> = ::std::sync::Arc::new(
            service,
        );
        ::core::option::Option::Some(::rapace::__private::DirectService::new(service))
    }
}
#[doc(hidden)]
#[allow(dead_code, clippy::too_many_arguments)]
pub trait CalculatorDirect: ::core::marker::Send + ::core::marker::Sync + 'static {
    fn add<'call>(
        &'call self,
        call: &'call ::rapace::__private::DirectCall,
        a: i64,
        b: i64,
    ) -> ::rapace::__private::Answer<'call, i64>;
    fn get<'call>(
        &'call self,
        call: &'call ::rapace::__private::DirectCall,
        context: &'call ::rapace::__private::Context,
        key: &'call str,
        hint: &'call [u8],
    ) -> ::rapace::__private::Answer<'call, Result<Option<Vec<u8>>, KeyError>>;
    fn sum<'call>(
        &'call self,
        call: &'call ::rapace::__private::DirectCall,
        scale: f64,
        numbers: ::rapace::__private::Incoming<f64>,
    ) -> ::rapace::__private::Answer<'call, f64>;
    fn count(
        self: ::std::sync::Arc<Self>,
        to: u64,
    ) -> ::rapace::__private::DirectItems<u64>;
    fn echo(
        self: ::std::sync::Arc<Self>,
        words: ::rapace::__private::Incoming<String>,
    ) -> ::rapace::__private::DirectItems<Vec<u8>>;
}
impl<Implementation: Calculator> CalculatorDirect for CalculatorServer<Implementation> {
    #[allow(deprecated)]
    fn add<'call>(
        &'call self,
        call: &'call ::rapace::__private::DirectCall,
        a: i64,
        b: i64,
    ) -> ::rapace::__private::Answer<'call, i64> {
        call.run(move || <Implementation as Calculator>::add(&self.implementation, a, b))
    }
    #[allow(deprecated)]
    fn get<'call>(
        &'call self,
        call: &'call ::rapace::__private::DirectCall,
        context: &'call ::rapace::__private::Context,
        key: &'call str,
        hint: &'call [u8],
    ) -> ::rapace::__private::Answer<'call, Result<Option<Vec<u8>>, KeyError>> {
        call.run(move || <Implementation as Calculator>::get(
            &self.implementation,
            context,
            key,
            hint,
        ))
    }
    #[allow(deprecated)]
    fn sum<'call>(
        &'call self,
        call: &'call ::rapace::__private::DirectCall,
        scale: f64,
        numbers: ::rapace::__private::Incoming<f64>,
    ) -> ::rapace::__private::Answer<'call, f64> {
        call.run(move || <Implementation as Calculator>::sum(
            &self.implementation,
            scale,
            numbers,
        ))
    }
    #[allow(deprecated)]
    fn count(
        self: ::std::sync::Arc<Self>,
        to: u64,
    ) -> ::rapace::__private::DirectItems<u64> {
        ::rapace::__private::DirectItems::new(move |sink| async move {
            sink.send(<Implementation as Calculator>::count(&self.implementation, to))
                .await;
        })
    }
    #[allow(deprecated)]
    fn echo(
        self: ::std::sync::Arc<Self>,
        words: ::rapace::__private::Incoming<String>,
    ) -> ::rapace::__private::DirectItems<Vec<u8>> {
        ::rapace::__private::DirectItems::new(move |sink| async move {
            sink.send(
                    <Implementation as Calculator>::echo(&self.implementation, words)
                        .await,
                )
                .await;
        })
    }
}
