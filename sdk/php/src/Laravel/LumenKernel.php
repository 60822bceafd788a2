<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Illuminate\Container\Container;
use Illuminate\Http\Request;
use Laravel\Lumen\Application;
use Laravel\Lumen\Http\Request as LumenRequest;
use Symfony\Component\HttpFoundation\Response;

/** @internal */
final class LumenKernel implements Kernel
{
    public function __construct(private readonly Application $app)
    {
    }

    public function boot(): void
    {
        $this->app->boot();
    }

    public function requestClass(): string
    {
        return LumenRequest::class;
    }

    public function handle(Container $sandbox, Request $request): Response
    {
        $sandbox->instance(Application::class, $sandbox);
        $response = $sandbox->dispatch($request);

        return $response instanceof Response ? $response : new Response((string) $response);
    }

    public function terminate(Container $sandbox, Request $request, Response $response): void
    {
        // Lumen has no public method for it.
        (fn () => $this->callTerminableMiddleware($response))->call($sandbox);
    }
}
