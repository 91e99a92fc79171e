package interop;

import com.netflix.appinfo.InstanceInfo;
import com.netflix.discovery.EurekaClient;
import com.netflix.discovery.shared.Application;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.TreeSet;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.client.discovery.DiscoveryClient;
import org.springframework.cloud.netflix.eureka.serviceregistry.EurekaRegistration;
import org.springframework.cloud.netflix.eureka.serviceregistry.EurekaServiceRegistry;
import org.springframework.context.ConfigurableApplicationContext;

/**
 * One Spring Boot application with the Eureka starter. All settings are properties on the command line. Takes orders on
 * standard input, one a line, and prints what the client itself sees as JSON, one line a change.
 */
@SpringBootApplication
public class Program {
    public static void main(String[] args) throws Exception {
        ConfigurableApplicationContext context = SpringApplication.run(Program.class, args);
        EurekaClient client = context.getBean(EurekaClient.class);
        EurekaServiceRegistry registry = context.getBean(EurekaServiceRegistry.class);
        EurekaRegistration registration = context.getBean(EurekaRegistration.class);
        DiscoveryClient discovery = context.getBean(DiscoveryClient.class);

        Thread watch = new Thread(() -> watch(client, discovery, registration));
        watch.setDaemon(true);
        watch.start();

        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        for (String line = orders.readLine(); line != null && !line.equals("quit"); line = orders.readLine()) {
            String[] order = line.split(" ");
            switch (order[0]) {
                case "override" -> registry.setStatus(registration, order[1]);
                case "clear" -> registry.setStatus(registration, "CANCEL_OVERRIDE");
                default -> throw new IllegalArgumentException(line);
            }
            say("{\"did\":\"" + order[0] + "\",\"status\":200}");
        }
        context.close();
        say("{\"did\":\"quit\"}");
        System.exit(0);
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    static void watch(EurekaClient client, DiscoveryClient discovery, EurekaRegistration registration) {
        String last = "";
        while (true) {
            TreeSet<String> seen = new TreeSet<>();
            for (Application app : client.getApplications().getRegisteredApplications()) {
                for (InstanceInfo it : app.getInstances()) {
                    seen.add("[\"" + app.getName() + "\",\"" + it.getId() + "\",\"" + it.getStatus() + "\",\""
                            + it.getHostName() + "\"," + it.getPort() + "]");
                }
            }
            // What an application asks Spring for: the instances of its own service.
            TreeSet<String> vip = new TreeSet<>();
            discovery.getInstances(registration.getServiceId())
                    .forEach(it -> vip.add("\"" + it.getHost() + ":" + it.getPort() + "\""));
            String view = "{\"view\":[" + String.join(",", seen) + "],\"vip\":[" + String.join(",", vip)
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
