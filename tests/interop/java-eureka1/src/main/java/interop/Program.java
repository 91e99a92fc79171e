package interop;

import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.appinfo.InstanceInfo;
import com.netflix.appinfo.MyDataCenterInstanceConfig;
import com.netflix.appinfo.providers.EurekaConfigBasedInstanceInfoProvider;
import com.netflix.client.config.CommonClientConfigKey;
import com.netflix.client.config.DefaultClientConfigImpl;
import com.netflix.discovery.DefaultEurekaClientConfig;
import com.netflix.discovery.DiscoveryClient;
import com.netflix.discovery.EurekaClient;
import com.netflix.discovery.shared.Application;
import com.netflix.discovery.shared.transport.EurekaHttpClient;
import com.netflix.loadbalancer.DynamicServerListLoadBalancer;
import com.netflix.loadbalancer.LoadBalancerBuilder;
import com.netflix.loadbalancer.Server;
import com.netflix.niws.loadbalancer.DiscoveryEnabledNIWSServerList;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;

/**
 * One instance with the Netflix client 1.x and a Ribbon load balancer. Takes orders on standard input, one a line, and
 * prints what the client itself sees as JSON, one line a change.
 */
public class Program {
    static final Map<String, String> given = new HashMap<>();

    /** Names and addresses as given, not as the machine has them. */
    static class Config extends MyDataCenterInstanceConfig {
        @Override public String getHostName(boolean refresh) { return given.get("host"); }
        @Override public String getIpAddress() { return "127.0.0.1"; }
    }

    public static void main(String[] args) throws Exception {
        for (String arg : args) {
            int at = arg.indexOf('=');
            given.put(arg.substring(0, at), arg.substring(at + 1));
        }
        set("serviceUrl.default", given.get("url"));
        set("shouldUseDns", "false");
        set("name", given.get("app"));
        set("instanceId", given.get("id"));
        set("vipAddress", given.get("vip"));
        set("port", given.get("port"));
        set("lease.renewalInterval", given.get("interval"));
        set("lease.duration", given.get("lease"));
        set("client.refresh.interval", "1");
        set("appinfo.replicate.interval", "1");
        set("appinfo.initial.replicate.time", "0");
        set("shouldFilterOnlyUpInstances", "false");

        Config config = new Config();
        InstanceInfo info = new EurekaConfigBasedInstanceInfoProvider(config).get();
        ApplicationInfoManager manager = new ApplicationInfoManager(config, info);
        DiscoveryClient client = new DiscoveryClient(manager, new DefaultEurekaClientConfig());
        manager.setInstanceStatus(InstanceInfo.InstanceStatus.UP);
        DynamicServerListLoadBalancer<?> ribbon = ribbon(client);

        Thread watch = new Thread(() -> watch(client, ribbon));
        watch.setDaemon(true);
        watch.start();

        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        for (String line = orders.readLine(); line != null && !line.equals("quit"); line = orders.readLine()) {
            String[] order = line.split(" ");
            EurekaHttpClient http = registrationClient(client);
            int status = switch (order[0]) {
                case "override" -> http.statusUpdate(info.getAppName(), info.getId(),
                        InstanceInfo.InstanceStatus.valueOf(order[1]), info).getStatusCode();
                case "clear" -> http.deleteStatusOverride(info.getAppName(), info.getId(), info).getStatusCode();
                default -> throw new IllegalArgumentException(line);
            };
            say("{\"did\":\"" + order[0] + "\",\"status\":" + status + "}");
        }
        ribbon.shutdown();
        client.shutdown();
        say("{\"did\":\"quit\"}");
        System.exit(0);
    }

    static void set(String key, String value) {
        System.setProperty("eureka." + key, value);
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    /** The client offers no call for overrides; whoever needs one (Spring among them) takes its transport. */
    static EurekaHttpClient registrationClient(DiscoveryClient client) throws Exception {
        Field transport = DiscoveryClient.class.getDeclaredField("eurekaTransport");
        transport.setAccessible(true);
        Object all = transport.get(client);
        Field registration = all.getClass().getDeclaredField("registrationClient");
        registration.setAccessible(true);
        return (EurekaHttpClient) registration.get(all);
    }

    static DynamicServerListLoadBalancer<?> ribbon(EurekaClient client) {
        DefaultClientConfigImpl config = new DefaultClientConfigImpl();
        config.loadDefaultValues();
        config.setClientName("interop");
        config.set(CommonClientConfigKey.DeploymentContextBasedVipAddresses, given.get("vip"));
        config.set(CommonClientConfigKey.ServerListRefreshInterval, 200);
        DiscoveryEnabledNIWSServerList list = new DiscoveryEnabledNIWSServerList(config, () -> client);
        return LoadBalancerBuilder.<Server>newBuilder()
                .withClientConfig(config)
                .withDynamicServerList((com.netflix.loadbalancer.ServerList) list)
                .buildDynamicServerListLoadBalancerWithUpdater();
    }

    static void watch(DiscoveryClient client, DynamicServerListLoadBalancer<?> ribbon) {
        String last = "";
        while (true) {
            TreeSet<String> seen = new TreeSet<>();
            for (Application app : client.getApplications().getRegisteredApplications()) {
                for (InstanceInfo it : app.getInstances()) {
                    seen.add("[\"" + app.getName() + "\",\"" + it.getId() + "\",\"" + it.getStatus() + "\",\""
                            + it.getHostName() + "\"," + it.getPort() + "]");
                }
            }
            TreeSet<String> servers = new TreeSet<>();
            for (Server server : ribbon.getAllServers()) {
                servers.add("\"" + server.getHostPort() + "\"");
            }
            String view = "{\"view\":[" + String.join(",", seen) + "],\"ribbon\":[" + String.join(",", servers)
                    + "],\"remote\":\"" + client.getInstanceRemoteStatus() + "\"}";
            if (!view.equals(last)) {
                last = view;
                say(view);
            }
            try {
                Thread.sleep(50);
            } catch (InterruptedException e) {
                return;
            }
        }
    }
}
