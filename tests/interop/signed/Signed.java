// Signed.java - Apache's Java client with its own signing hook, as signed.sh runs
// it: java Signed.java NAMESRV before|after. "after": the rules were changed, and
// key till may publish no more.

import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.acl.common.AclClientRPCHook;
import org.apache.rocketmq.acl.common.SessionCredentials;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

final class Signed {
	private static final int COUNT = 200;
	private static String namesrv;
	private static boolean failed;

	interface Case {
		String run() throws Exception;
	}

	static RPCHook hook(String key, String secret) {
		return key == null ? null : new AclClientRPCHook(new SessionCredentials(key, secret));
	}

	static DefaultMQProducer producer(String key, String secret) throws Exception {
		DefaultMQProducer p = new DefaultMQProducer("producers", hook(key, secret));
		p.setNamesrvAddr(namesrv);
		p.setInstanceName("p" + System.nanoTime());
		p.setRetryTimesWhenSendFailed(0);
		p.start();
		return p;
	}

	// What became of one message of that producer.
	static String send(String key, String secret) throws Exception {
		DefaultMQProducer p = producer(key, secret);
		try {
			return p.send(message("one")).getSendStatus().toString();
		} catch (Exception e) {
			return error(e);
		} finally {
			p.shutdown();
		}
	}

	static Message message(String body) {
		return new Message("orders", "red", body, body.getBytes(StandardCharsets.UTF_8));
	}

	static String error(Throwable e) {
		for (Throwable t = e; t != null; t = t.getCause())
			if (t instanceof MQBrokerException)
				return "broker says " + ((MQBrokerException) t).getResponseCode();
			else if (t.getMessage() != null && t.getMessage().contains("No route info"))
				return "no route";
			else if (t.getMessage() != null && t.getMessage().startsWith("CODE: 16 "))
				return "broker says 16";
		return e.toString();
	}

	// Everything once, and the first one again, by way of the retry topic.
	static String sendAndConsume() throws Exception {
		Set<String> seen = ConcurrentHashMap.newKeySet();
		CountDownLatch all = new CountDownLatch(COUNT + 1);
		AtomicInteger again = new AtomicInteger();
		DefaultMQPushConsumer c = new DefaultMQPushConsumer("billing",
				hook("billing", "billing-secret"), new AllocateMessageQueueAveragely());
		c.setNamesrvAddr(namesrv);
		c.setInstanceName("c" + System.nanoTime());
		c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
		c.setConsumeMessageBatchMaxSize(1);
		c.subscribe("orders", "red");
		c.registerMessageListener((MessageListenerConcurrently) (list, context) -> {
			for (MessageExt m : list) {
				String body = new String(m.getBody(), StandardCharsets.UTF_8);
				all.countDown();
				if (body.equals("0") && m.getReconsumeTimes() == 0)
					return ConsumeConcurrentlyStatus.RECONSUME_LATER;
				if (body.equals("0"))
					again.incrementAndGet();
				seen.add(body);
			}
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		DefaultMQProducer p = producer("till", "till-secret");
		for (int i = 0; i < COUNT; i++)
			p.send(message("" + i));
		c.start();
		all.await(60, TimeUnit.SECONDS);
		c.shutdown();
		p.shutdown();
		return seen.size() + " consumed, " + again + " again";
	}

	static String administer(String key, String secret) throws Exception {
		DefaultMQAdminExt admin = new DefaultMQAdminExt(hook(key, secret), 10_000);
		admin.setNamesrvAddr(namesrv);
		admin.setInstanceName("a" + System.nanoTime());
		admin.start();
		try {
			String broker = admin.examineTopicRouteInfo("TBW102").getBrokerDatas().get(0).selectBrokerAddr();
			admin.createAndUpdateTopicConfig(broker, new TopicConfig("made", 2, 2, 6));
			return "made " + admin.examineTopicConfig(broker, "made").getReadQueueNums();
		} catch (Exception e) {
			return error(e);
		} finally {
			admin.shutdown();
		}
	}

	static void check(String name, String want, Case test) {
		String got;
		try {
			got = test.run();
		} catch (Exception e) {
			got = e.toString();
		}
		failed |= !got.equals(want);
		System.out.println("case signed." + name + " "
				+ (got.equals(want) ? "ok " + got : "fail " + got + " instead of " + want));
	}

	public static void main(String[] args) {
		namesrv = args[0];
		if (args[1].equals("before")) {
			check("send-consume", COUNT + " consumed, 1 again", Signed::sendAndConsume);
			check("unsigned", "no route", () -> send(null, null));
			check("wrong-secret", "no route", () -> send("till", "till-secreT"));
			check("unknown-key", "no route", () -> send("nobody", "till-secret"));
			check("no-right", "broker says 16", () -> send("billing", "billing-secret"));
			check("admin", "made 2", () -> administer("admin", "admin-secret"));
			check("no-admin", "broker says 16", () -> administer("till", "till-secret"));
			check("before-reload", "SEND_OK", () -> send("till", "till-secret"));
		} else {
			check("after-reload", "broker says 16", () -> send("till", "till-secret"));
			check("others-after-reload", "made 2", () -> administer("admin", "admin-secret"));
		}
		System.exit(failed ? 1 : 0);
	}
}
