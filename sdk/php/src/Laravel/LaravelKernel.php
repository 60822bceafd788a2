<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Illuminate\Container\Container;
use Illuminate\Contracts\Http\Kernel as HttpKernel;
use Illuminate\Contracts\Routing\ResponseFactory;
use Illuminate\Http\Request;
use Symfony\Component\HttpFoundation\Response;

/** @internal */
final class LaravelKernel implements Kernel
{
    /** What most requests need and what can be kept, as the sandbox knows how to clean it. config('edge.warm') adds to it. */
    private const WARM = [
        'auth', 'blade.compiler', 'cache', 'cache.store', 'config', 'cookie', 'encrypter', 'events', 'files', 'hash', 'log', 'router', 'routes',
        'session', 'session.store', 'translator', 'url', 'validator', 'view', 'redirect', ResponseFactory::class,
    ];

    private readonly HttpKernel $kernel;

    public function __construct(private readonly Container $app)
    {
        Router::install($app);
        $this->kernel = $app->make(HttpKernel::class);
    }

    public function boot(): void
    {
        // Providers may look at the request while they boot; there is none yet.
        $this->app->instance('request', Request::create('http://localhost'));
        $this->kernel->bootstrap();
        foreach ([...self::WARM, ...(array) $this->app->make('config')->get('edge.warm', [])] as $name) {
            if ($this->app->bound($name)) {
                try {
                    $this->app->make($name);
                } catch (\Throwable) {
                    // The application may lack what the service needs, such as a key, and never use it: the request will tell.
                }
            }
        }
    }

    public function requestClass(): string
    {
        return Request::class;
    }

    public function handle(Container $sandbox, Request $request): Response
    {
        $this->kernel->setApplication($sandbox);

        return $this->kernel->handle($request);
    }

    public function terminate(Container $sandbox, Request $request, Response $response): void
    {
        $this->kernel->terminate($request, $response);
        // A route keeps its controller, and with it what was injected there.
        $route = $request->route();
        if (\is_object($route) && \method_exists($route, 'flushController')) {
            $route->flushController();
        }
    }
}
