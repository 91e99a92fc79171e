//! Requests of the Eureka API, as its Java client 1.10 sends them, for the instances of a population.
//!
//! Never: sends anything.

use std::fmt;
use std::io::Write as _;

use crate::population::Population;

/// The headers that the Java client sends with everything, save those that name the host and describe the body.
pub(crate) const HEADERS: &str = "DiscoveryIdentity-Name: DefaultClient\r\nDiscoveryIdentity-Version: 1.4\r\n\
                                  Connection: Keep-Alive\r\nUser-Agent: Java-EurekaClient/v1.10.18\r\n";

/// `APPLICATION/ID` of an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    pub(crate) population: &'a Population,
    pub(crate) instance: usize,
}

/// When an instance was last changed by its client, in milliseconds; always the same.
pub(crate) fn dirty_at(instance: usize) -> u64 {
    1_750_000_000_000 + u64::try_from(instance).unwrap_or_default()
}

/// The body that registers an instance.
pub(crate) fn write_registration(population: &Population, instance: usize, out: &mut Vec<u8>) {
    let app = population.service(instance);
    let (host, address) = (Host(instance), population.address(instance));
    let (zone, dirty_at) = (instance % 3, dirty_at(instance));
    let name = app.to_ascii_uppercase();
    write!(
        out,
        r#"{{"instance":{{"instanceId":"{host}:{app}:8080","hostName":"{host}","app":"{name}","ipAddr":"{address}","#
    )
    .and_then(|()| {
        out.write_all(
            br#""status":"UP","overriddenStatus":"UNKNOWN","port":{"$":8080,"@enabled":"true"},"#,
        )?;
        out.write_all(br#""securePort":{"$":443,"@enabled":"false"},"countryId":1,"#)?;
        out.write_all(
            br#""dataCenterInfo":{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"},"#,
        )?;
        out.write_all(
            br#""leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":86400,"registrationTimestamp":0,"#,
        )?;
        out.write_all(br#""lastRenewalTimestamp":0,"evictionTimestamp":0,"serviceUpTimestamp":0},"#)?;
        write!(out, r#""metadata":{{"zone":"dc{zone}","version":"1.2.3","management.port":"8081"}},"#)?;
        write!(out, r#""homePageUrl":"http://{host}:8080/","statusPageUrl":"http://{host}:8081/info","#)?;
        write!(out, r#""healthCheckUrl":"http://{host}:8081/health","vipAddress":"{app}","#)?;
        write!(out, r#""secureVipAddress":"{app}","isCoordinatingDiscoveryServer":"false","#)?;
        write!(out, r#""lastUpdatedTimestamp":"{dirty_at}","lastDirtyTimestamp":"{dirty_at}"}}}}"#)
    })
    .expect("writing to memory does not fail");
}

/// How many instances a list of applications shows, as JSON or as XML.
pub(crate) fn instances_in(list: &[u8]) -> usize {
    let count = |name: &[u8]| memchr::memmem::find_iter(list, name).count();
    count(br#""instanceId":"#) + count(b"<instanceId>")
}

struct Host(usize);

// === impl Host ===

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host-{:06}.prod.example.com", self.0)
    }
}

// === impl Path ===

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let app = self.population.service(self.instance);
        write!(f, "{}/{}:{app}:8080", app.to_ascii_uppercase(), Host(self.instance))
    }
}
