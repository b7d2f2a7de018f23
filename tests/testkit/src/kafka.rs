//! Apache Kafka, started from the jars that Maven puts into the target folder.
