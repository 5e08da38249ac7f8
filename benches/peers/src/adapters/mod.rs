pub mod aws;
pub mod azure;
pub mod baseline;
pub mod gcp;
pub mod google;
pub mod rmcp_auth;
pub mod tokenkeeper;
pub mod tokenkeeper_engine;
pub mod yup;

/// The only list of peers. A new peer needs a module that implements `Peer`, and an entry here.
#[macro_export]
macro_rules! for_each_peer {
    ($m:ident) => {
        $m!($crate::adapters::tokenkeeper::Tokenkeeper);
        $m!($crate::adapters::tokenkeeper_engine::Engine);
        $m!($crate::adapters::baseline::ArcSwapLoad);
        $m!($crate::adapters::baseline::WatchBorrow);
        $m!($crate::adapters::baseline::ArcSwapMutex);
        $m!($crate::adapters::baseline::RwLockClone);
        $m!($crate::adapters::baseline::MutexClone);
        $m!($crate::adapters::baseline::Mpsc);
        $m!($crate::adapters::baseline::Ractor);
        $m!($crate::adapters::baseline::RactorBoxed);
        $m!($crate::adapters::rmcp_auth::RmcpAuthClient);
        $m!($crate::adapters::rmcp_auth::RmcpArcManager);
        $m!($crate::adapters::rmcp_auth::RmcpGuarded);
        $m!($crate::adapters::rmcp_auth::RmcpSharedHttp);
        $m!($crate::adapters::google::GoogleAccessToken);
        $m!($crate::adapters::google::GoogleHeaders);
        $m!($crate::adapters::google::GoogleHeadersTag);
        $m!($crate::adapters::aws::AwsLazy);
        $m!($crate::adapters::azure::Azure);
        $m!($crate::adapters::yup::Yup);
        $m!($crate::adapters::gcp::GcpAuth);
    };
}
