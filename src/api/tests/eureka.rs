//! The Eureka API through the entrance.
