import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Writes an update of each of the objects 0 to n-1, as the documentation of the record says. */
public class Produce {
    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[0]);
        properties.put("acks", "all");
        int count = Integer.parseInt(args[3]);
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
            for (int key = 0; key < count; key++) {
                String body = "{\"new\":{\"key\":" + key + "},\"old\":null}";
                ProducerRecord<String, String> record =
                        new ProducerRecord<>(args[1], args[2] + key, body);
                record.headers().add("tw", "1;U;;none".getBytes(StandardCharsets.UTF_8));
                producer.send(record).get();
            }
        }
        System.out.println(count + " written");
    }
}
