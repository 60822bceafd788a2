<?php

declare(strict_types=1);

namespace Edge\Psr15;

use Edge\Http\Psr7Worker;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\ServerRequestInterface;
use Psr\Http\Server\MiddlewareInterface;
use Psr\Http\Server\RequestHandlerInterface;

/**
 * Runs a PSR-15 handler, behind any number of middleware, the first of which is outermost:
 *
 *     (new Worker())->serve($app);                           // Slim, Mezzio, a router, …
 *     (new Worker())->serve($router, new Errors(), $session);
 *
 * psr/http-server-handler and psr/http-server-middleware come with the application. Bodies, uploads, early hints and errors are as
 * Psr7Worker has them.
 */
final class Worker
{
    public function __construct(private readonly Psr7Worker $worker = new Psr7Worker())
    {
    }

    public function serve(RequestHandlerInterface $handler, MiddlewareInterface ...$middleware): void
    {
        foreach (\array_reverse($middleware) as $outer) {
            $handler = self::behind($outer, $handler);
        }
        $this->worker->serve($handler->handle(...));
    }

    private static function behind(MiddlewareInterface $middleware, RequestHandlerInterface $handler): RequestHandlerInterface
    {
        return new class($middleware, $handler) implements RequestHandlerInterface {
            public function __construct(private readonly MiddlewareInterface $middleware, private readonly RequestHandlerInterface $handler)
            {
            }

            public function handle(ServerRequestInterface $request): ResponseInterface
            {
                return $this->middleware->process($request, $this->handler);
            }
        };
    }
}
