<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Edge\Http\Leftovers;
use Edge\Http\Request as EdgeRequest;
use Edge\Http\Worker;
use Edge\Laravel\Events\RequestReceived;
use Edge\Laravel\Events\RequestTerminated;
use Edge\Symfony\Requests;
use Edge\Symfony\Responses;
use Edge\Worker as Process;
use Illuminate\Container\Container;
use Illuminate\Http\Request;
use Illuminate\Http\UploadedFile;

/**
 * Runs a Laravel or Lumen application as a worker of Edge. The script vendor/bin/edge-laravel does it for the application in the
 * working directory; a script of one's own writes
 *
 *     exit(Edge\Laravel\Runner::fromBootstrap(__DIR__ . '/bootstrap/app.php')->run());
 *
 * The application boots once and every request is handled by a clone of it; Sandbox says how requests are kept apart. After every
 * response, when the client has it already, terminable middleware runs.
 */
final class Runner
{
    private readonly Process $process;
    private readonly Worker $worker;
    private Leftovers $leftovers;
    private readonly Kernel $kernel;
    private Requests $requests;
    private Sandbox $sandbox;

    public function __construct(private readonly Container $app, ?Process $process = null)
    {
        $this->process = $process ?? Process::create();
        $this->worker = new Worker($this->process);
        $this->kernel = $app instanceof \Laravel\Lumen\Application ? new LumenKernel($app) : new LaravelKernel($app);
    }

    /** Loads bootstrap/app.php and runs what it returns. */
    public static function fromBootstrap(string $file): self
    {
        // Laravel would take a worker for an artisan command.
        $_ENV['APP_RUNNING_IN_CONSOLE'] = $_SERVER['APP_RUNNING_IN_CONSOLE'] = false;
        // Whatever is printed from here on must not get between the frames.
        $process = Process::create();
        $app = require $file;
        if (!$app instanceof Container) {
            throw new \LogicException("$file must return the application, as Laravel's own does");
        }

        return new self($app, $process);
    }

    public function run(): int
    {
        $this->kernel->boot();
        $this->sandbox = new Sandbox($this->app);
        $this->leftovers = new Leftovers();
        $this->requests = new Requests($this->kernel->requestClass(), UploadedFile::class, emptyFiles: false);
        while (($request = $this->worker->wait()) !== null) {
            $this->serve($request);
            $request = null;
        }

        return 0;
    }

    private function serve(EdgeRequest $edge): void
    {
        try {
            $request = $this->make($edge);
            $sandbox = $this->sandbox->open($request);
            $this->fire($sandbox, RequestReceived::class, $request);
            $response = $this->kernel->handle($sandbox, $request);
            Responses::send($this->worker, $response);
            $this->kernel->terminate($sandbox, $request, $response);
            $this->fire($sandbox, RequestTerminated::class, $request, $response);
        } catch (\Throwable $e) {
            // Before the response this answers 500; after it, it is only written to the log.
            $this->worker->error((string) $e);
        }
        try {
            $this->sandbox->close();
            $this->leftovers->clear();
            $this->process->endBuffers();
        } catch (\Throwable $e) {
            // Nobody knows what is left in the services: another process takes over.
            $this->worker->error((string) $e);
            $this->process->stop();
        }
    }

    private function make(EdgeRequest $edge): Request
    {
        $request = $this->requests->make($edge, $this->worker);
        if ($request->isJson()) {
            // As Laravel itself does, whose input() looks there.
            $request->request->replace($request->json()->all());
            $request->setJson($request->request);
        }

        return $request;
    }

    private function fire(Container $sandbox, string $event, Request $request, mixed ...$more): void
    {
        $events = $sandbox->bound('events') ? $sandbox->make('events') : null;
        if ($events !== null && $events->hasListeners($event)) {
            $events->dispatch(new $event($this->app, $sandbox, $request, ...$more));
        }
    }
}
