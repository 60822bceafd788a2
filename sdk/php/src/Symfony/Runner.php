<?php

declare(strict_types=1);

namespace Edge\Symfony;

use Edge\Http\Leftovers;
use Edge\Http\Request;
use Edge\Http\Worker;
use Edge\Worker as Process;
use Symfony\Component\HttpFoundation\Request as SymfonyRequest;
use Symfony\Component\HttpKernel\EventListener\StreamedResponseListener;
use Symfony\Component\HttpKernel\HttpKernelInterface;
use Symfony\Component\HttpKernel\KernelEvents;
use Symfony\Component\HttpKernel\KernelInterface;
use Symfony\Component\HttpKernel\TerminableInterface;
use Symfony\Component\Runtime\RunnerInterface;

/**
 * Runs a Symfony kernel as a worker of Edge. Edge\Symfony\Runtime does it for public/index.php; a script of one's own writes
 *
 *     exit((new Edge\Symfony\Runner(new App\Kernel('prod', false)))->run());
 *
 * The kernel boots once. After every response, when the client has it already, come kernel.terminate and the reset of all services
 * with the tag kernel.reset, so that nothing of a request is left for the next one.
 */
class Runner implements RunnerInterface
{
    /** Stands for the sender of each request among the trusted proxies. No client has this address. */
    public const ANY_PROXY = '0.0.0.0';

    private readonly Process $process;
    private readonly Worker $worker;
    private Leftovers $leftovers;

    /** @var list<string>|null the trusted proxies besides the sender of a request, when that one is trusted */
    private ?array $proxies = null;

    public function __construct(private readonly HttpKernelInterface $kernel, private ?Requests $requests = null, ?Process $process = null)
    {
        $this->process = $process ?? Process::create();
        $this->worker = new Worker($this->process);
    }

    /** Whether Edge, or another server with its protocol, started this process as a worker. */
    public static function isWorker(): bool
    {
        return \getenv('RR_RELAY') !== false && \getenv('RR_MODE') === 'http';
    }

    public function run(): int
    {
        $this->boot();
        while (($request = $this->worker->wait()) !== null) {
            $this->serve($request);
            // What a request holds is let go before the wait for the next one.
            $request = null;
        }

        return 0;
    }

    private function boot(): void
    {
        if ($this->kernel instanceof KernelInterface) {
            // A kernel that cannot boot must be known before the first client is there.
            $this->kernel->boot();
            $this->keepStreams($this->kernel);
        }
        $proxies = SymfonyRequest::getTrustedProxies();
        if (\in_array(self::ANY_PROXY, $proxies, true)) {
            $this->proxies = \array_values(\array_diff($proxies, [self::ANY_PROXY]));
        }
        if (($_SERVER['REMOTE_ADDR'] ?? '') === self::ANY_PROXY) {
            unset($_SERVER['REMOTE_ADDR']);
        }
        $this->requests ??= new Requests();
        $this->leftovers = new Leftovers();
    }

    private function serve(Request $request): void
    {
        try {
            if ($this->proxies !== null) {
                SymfonyRequest::setTrustedProxies([...$this->proxies, $request->remoteAddr], SymfonyRequest::getTrustedHeaderSet());
            }
            $made = $this->requests->make($request, $this->worker);
            $response = $this->kernel->handle($made);
            Responses::send($this->worker, $response);
            if ($this->kernel instanceof TerminableInterface) {
                $this->kernel->terminate($made, $response);
            }
        } catch (\Throwable $e) {
            // Before the response this answers 500; after it, it is only written to the log.
            $this->worker->error((string) $e);
        }
        $this->reset();
    }

    private function reset(): void
    {
        try {
            $this->leftovers->clear();
            if ($this->kernel instanceof KernelInterface) {
                // On a kernel that has served a request, boot() resets the services. handle() would do it, while a client waits.
                $this->kernel->boot();
            }
            $this->process->endBuffers();
        } catch (\Throwable $e) {
            // Nobody knows what is left in the services: another process takes over.
            $this->worker->error((string) $e);
            $this->process->stop();
        }
    }

    /** Up to Symfony 6.0 a listener sends streamed responses from inside of the kernel. Here they are sent after it. */
    private function keepStreams(KernelInterface $kernel): void
    {
        $dispatcher = $kernel->getContainer()->get('event_dispatcher', 2);
        if ($dispatcher === null || !\class_exists(StreamedResponseListener::class)) {
            return;
        }
        foreach ($dispatcher->getListeners(KernelEvents::RESPONSE) as $listener) {
            if (\is_array($listener) && $listener[0] instanceof StreamedResponseListener) {
                $dispatcher->removeListener(KernelEvents::RESPONSE, $listener);
            }
        }
    }
}
