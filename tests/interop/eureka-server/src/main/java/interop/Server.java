package interop;

import org.glassfish.jersey.server.ResourceConfig;
import org.glassfish.jersey.server.ServerProperties;
import org.springframework.beans.factory.config.BeanPostProcessor;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.cloud.netflix.eureka.server.EnableEurekaServer;
import org.springframework.context.annotation.Bean;

/** The stock server; everything else is given as properties on the command line. */
@SpringBootApplication
@EnableEurekaServer
public class Server {
    public static void main(String[] args) {
        SpringApplication.run(Server.class, args);
    }

    /**
     * Without this, Spring Boot fills each empty error answer with a document of its own, and the Netflix clients, told
     * 404 with a body, never register again.
     */
    @Bean
    static BeanPostProcessor emptyErrors() {
        return new BeanPostProcessor() {
            @Override
            public Object postProcessBeforeInitialization(Object bean, String name) {
                if (bean instanceof ResourceConfig config) {
                    config.property(ServerProperties.RESPONSE_SET_STATUS_OVER_SEND_ERROR, true);
                }
                return bean;
            }
        };
    }
}
