// Load.java - a producer and a consumer that go on while the server is restarted
// or killed; what was receipted must all arrive.
//
//	java Load NAME NAMESRV BROKER
//
// Prints "ready" once messages flow; reads one line from its input when the server
// is back; then prints its case's line.

import java.util.BitSet;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.MessageExt;

final class Load {
	private static final BitSet SENT = new BitSet();
	private static final BitSet SEEN = new BitSet();
	private static final AtomicInteger REPEATED = new AtomicInteger();
	private static volatile boolean ending;

	private Load() {
	}

	// Each number is sent until it has its receipt.
	private static void produce(String topic) {
		try {
			DefaultMQProducer p = Sending.producer();
			p.setSendMsgTimeout(3000);
			p.setRetryTimesWhenSendFailed(0);
			for (int i = 0; !ending; i++) {
				boolean stored = false;
				while (!stored && !ending)
					try {
						stored = p.send(Sending.message(topic, String.valueOf(i)))
							.getSendStatus() == SendStatus.SEND_OK;
					} catch (Exception e) {
						Thread.sleep(50); // the server is away
					}
				synchronized (SENT) {
					SENT.set(i, stored);
				}
			}
			p.shutdown();
		} catch (Exception e) {
			e.printStackTrace();
		}
	}

	private static void consumed(MessageExt m) {
		int i = Integer.parseInt(Inbox.body(m));
		synchronized (SEEN) {
			if (SEEN.get(i))
				REPEATED.incrementAndGet();
			SEEN.set(i);
		}
	}

	private static int sent() {
		synchronized (SENT) {
			return SENT.cardinality();
		}
	}

	private static int unseen() {
		synchronized (SENT) {
			synchronized (SEEN) {
				BitSet lost = (BitSet) SENT.clone();
				lost.andNot(SEEN);
				return lost.cardinality();
			}
		}
	}

	private static String run() throws Exception {
		// Older things that must outlive it: messages, and a group's place.
		String kept = Ask.topic("load-kept", 1);
		String group = Suite.fresh("load-kept-g");
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, kept, "*");
			for (int i = 0; i < 10; i++)
				Ask.send(wire, kept, 0, "kept" + i);
			Ask.commit(wire, group, kept, 0, 4);
		}
		String topic = Ask.topic("load", 4);
		Inbox inbox = Groups.consumer("load-g", topic, "*", Load::consumed);
		Thread producer = new Thread(() -> produce(topic));
		producer.start();
		Suite.until(60, "messages flow", () -> sent() > 500 && unseen() < 500);
		// The place is stored by then: a broker may write it every five seconds.
		Thread.sleep(6000);
		System.out.println("ready");
		System.in.read();
		int before = sent();
		Suite.until(90, "it goes on", () -> sent() > before + 500);
		ending = true;
		producer.join();
		Suite.until(90, "all with a receipt arrived", () -> unseen() == 0);
		inbox.close();
		String s = "lost 0, went on";
		try (Wire wire = Wire.broker()) {
			Ask.heartbeat(wire, "c1", group, kept, "*");
			s += ", kept " + Inbox.read(kept, 1).distinct() + " place "
				+ Ask.committed(wire, group, kept, 0).say("offset");
		}
		System.err.println("sent " + sent() + " repeated " + REPEATED);
		return s;
	}

	public static void main(String[] args) {
		Suite.namesrv = args[1];
		Suite.broker = args[2];
		String outcome;
		try {
			outcome = "ok " + Suite.normal(run());
		} catch (Throwable e) {
			outcome = "fail " + Suite.normal(e.toString());
		}
		System.out.println("case life." + args[0] + " " + outcome);
		System.exit(outcome.startsWith("ok") ? 0 : 1);
	}
}
