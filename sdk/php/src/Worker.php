<?php

declare(strict_types=1);

namespace Edge;

use Edge\Exception\ProtocolException;

/**
 * A worker process as the server sees it: it says who it is, takes one task after the other, and stops when it is told to.
 * Edge\Http\Worker and Edge\Http\Psr7Worker are built on it; use it directly for tasks of another kind.
 *
 * While a worker lives, its standard output belongs to the server. What the application prints goes to standard error, and so
 * into the server's log.
 */
final class Worker
{
    /** The context of the task that wait() returned for. */
    public string $context = '';

    /** The body of it. */
    public string $body = '';

    /** Whether the context is in PHP's own serialization; otherwise it is an http.v1.Request. */
    public bool $native = false;

    /** What this package can do beyond RoadRunner's protocol; the server reads it from the answer to its greeting. */
    private const EDGE = ['v' => 1, 'features' => ['body-file', 'one-answer', 'native-2', 'ahead']];

    private const FATAL = \E_ERROR | \E_PARSE | \E_CORE_ERROR | \E_COMPILE_ERROR | \E_RECOVERABLE_ERROR | \E_USER_ERROR;

    /** The number of the task, which its answer repeats: the server may have sent the next one already. */
    private int $number = 0;

    /** Where its answer may leave a large body. */
    private int $slot = 0;

    private ?SharedMemory $shared = null;

    /** Where output goes while a response is printed, in place of standard error. It gets one string. */
    public ?\Closure $sink = null;

    private bool $busy = false;
    private bool $leaving = false;
    private bool $cancel = false;
    private bool $cancelled = false;

    private ?Output $output = null;

    public function __construct(public readonly Relay $relay)
    {
    }

    /**
     * The worker that this process is.
     *
     * @param bool $cancel Whether cancelled() is to tell that a client is gone. It costs that the server sends no request ahead.
     */
    public static function create(bool $cancel = false): self
    {
        $worker = new self(Relay::ofWorker());
        $worker->cancel = $cancel;
        $worker->output = new Output($worker);
        \register_shutdown_function($worker->onShutdown(...));

        return $worker;
    }

    /** Waits for a task and puts it into $context and $body; false means that the worker is to end. */
    public function wait(): bool
    {
        $relay = $this->relay;
        $this->busy = $this->cancelled = false;
        if (!$this->leaving && null !== $task = $relay->request()) {
            [$this->context, $this->body] = $task;
            $this->native = ($relay->flags & Frame::RAW) !== 0;
            $this->number = $relay->number;
            $this->slot = $relay->slot;

            return $this->busy = true;
        }
        while ($relay->receive()) {
            if ($relay->flags & Frame::CONTROL) {
                if (!$this->control($relay->payload)) {
                    return false;
                }
                continue;
            }
            // What belongs to a stream that is over.
            if ($relay->stream & (Frame::STOP | Frame::PONG)) {
                continue;
            }
            $size = $relay->options[0] ?? -1;
            if ($size < 0 || $size > \strlen($relay->payload)) {
                throw new ProtocolException('the task has no context, or one that is longer than the task');
            }
            $this->number = $relay->number;
            $this->slot = $relay->slot;
            if ($this->leaving) {
                // Only in place of an answer does the server expect it.
                $relay->send(Frame::payload(0, 0, '{"stop":true}', '', $this->number));

                return false;
            }
            $this->native = ($relay->flags & Frame::RAW) !== 0;
            $this->context = \substr($relay->payload, 0, $size);
            $this->body = \substr($relay->payload, $size);
            $relay->payload = '';

            return $this->busy = true;
        }

        return false;
    }

    /** Answers the task. A second answer is refused: the server would take it for that of the next task. */
    public function respond(string $context, string $body, int $codec = Frame::PROTO): void
    {
        if (!$this->busy) {
            $this->mustBeBusy();
        }
        $this->busy = false;
        if ($this->slot !== 0 && isset($body[SharedMemory::FROM]) && $this->shared?->put($this->slot, $body)) {
            $this->relay->send(Frame::payload($codec, $this->slot << 4, $context, \pack('V', \strlen($body)), $this->number));

            return;
        }
        $this->relay->send(Frame::payload($codec, 0, $context, $body, $this->number));
    }

    /** Sends a part of the answer; respond() sends the last one. */
    public function part(string $context, string $body, int $stream = Frame::STREAM): void
    {
        $this->mustBeBusy();
        $this->relay->send(Frame::payload(Frame::PROTO, $stream, $context, $body, $this->number));
    }

    /** Reports that the task failed. The worker stays in service. After an answer, the text only goes to the log. */
    public function error(string $text): void
    {
        if (!$this->busy) {
            \fwrite(\STDERR, "edge: after the response: $text\n");

            return;
        }
        $this->busy = false;
        $this->relay->send(Frame::plain(Frame::ERROR, $text, $this->number));
    }

    /**
     * Asks the server to retire this worker, and to give the task, untouched, to another. After an answer, the next task is the
     * one that goes to another: go on calling wait() until it returns false.
     */
    public function stop(): void
    {
        $this->leaving = true;
        if (!$this->busy) {
            return;
        }
        $this->busy = false;
        $this->relay->send(Frame::payload(0, 0, '{"stop":true}', '', $this->number));
    }

    /**
     * Ends the worker after the task that it has, whose answer is still to come.
     *
     * @internal
     */
    public function retire(): void
    {
        $this->leaving = true;
    }

    /** Whether the task that wait() returned for is still to be answered. */
    public function busy(): bool
    {
        return $this->busy;
    }

    /** Whether the client of the task is gone, so that nobody waits for the answer. It is to be given all the same. */
    public function cancelled(): bool
    {
        if (!$this->cancel) {
            throw new \LogicException('whether a client is gone is told to workers that ask for it: Worker::create(cancel: true)');
        }

        return $this->cancelled = $this->cancelled || $this->busy && $this->relay->stopped();
    }

    /** Ends the output buffers that the application has begun and not ended; what is in them is printed. */
    public function endBuffers(): void
    {
        $this->output?->end();
    }

    private function mustBeBusy(): void
    {
        if (!$this->busy) {
            throw new \LogicException('there is no request to answer: it was answered already');
        }
    }

    /** @return array{v: int, features: list<string>} */
    private function edge(): array
    {
        $edge = self::EDGE;
        if (null !== $this->shared = SharedMemory::ofWorker()) {
            $edge['features'][] = 'shared';
        }
        if ($this->cancel) {
            $edge['features'] = [...\array_diff($edge['features'], ['ahead']), 'cancel'];
        }

        return $edge;
    }

    private function control(string $payload): bool
    {
        $command = \json_decode($payload, true);
        if (isset($command['pid'])) {
            $this->relay->send(Frame::plain(Frame::CONTROL, \json_encode(['pid' => \getmypid(), 'edge' => $this->edge()])));

            return true;
        }
        if (($command['stop'] ?? false) === true) {
            return false;
        }
        throw new ProtocolException("the server sent a command that is not known: $payload");
    }

    /** Says why the process ends when it ends during a task: nobody else will. */
    private function onShutdown(): void
    {
        if (!$this->busy) {
            return;
        }
        $error = \error_get_last();
        $why = $error !== null && ($error['type'] & self::FATAL)
            ? "{$error['message']} in {$error['file']} on line {$error['line']}"
            : 'the application called exit or die';
        \fwrite(\STDERR, "edge: the worker ended in the middle of a request: $why\n");
    }
}
