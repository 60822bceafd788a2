<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Illuminate\Container\Container;
use Illuminate\Routing\Route;
use Illuminate\Routing\Router as LaravelRouter;
use Illuminate\Routing\RoutingServiceProvider;

/**
 * Laravel's router, which remembers what follows from the application alone: which classes the names of middleware stand for and
 * in which order they run. Laravel works it out twice per request.
 *
 * @internal
 */
final class Router extends LaravelRouter
{
    /** More than an application has different lists; one that makes up names for every request must not fill the memory. */
    private const REMEMBERED = 1024;

    /** @var array<string, list<mixed>> */
    private array $sorted = [];

    /** @var array<mixed> what $sorted follows from */
    private array $from = [];

    /** Takes the place of Laravel's own router, unless the application has another or is using it already. */
    public static function install(Container $app): void
    {
        $concrete = $app->getBindings()['router']['concrete'] ?? null;
        if (!$concrete instanceof \Closure || $app->resolved('router')) {
            return;
        }
        if ((new \ReflectionFunction($concrete))->getClosureScopeClass()?->getName() === RoutingServiceProvider::class) {
            $app->singleton('router', static fn (Container $app): self => new self($app->make('events'), $app));
        }
    }

    public function gatherRouteMiddleware(Route $route)
    {
        $from = [$this->middleware, $this->middlewareGroups, $this->middlewarePriority];
        if ($from !== $this->from || \count($this->sorted) >= self::REMEMBERED) {
            $this->from = $from;
            $this->sorted = [];
        }
        $key = '';
        foreach ([$route->gatherMiddleware(), ['!'], $route->excludedMiddleware()] as $names) {
            foreach ($names as $name) {
                if (!\is_string($name)) {
                    // A closure belongs to a controller, and that to a request.
                    return parent::gatherRouteMiddleware($route);
                }
                $key .= "$name\n";
            }
        }
        if (isset($this->sorted[$key])) {
            return $this->sorted[$key];
        }
        $sorted = parent::gatherRouteMiddleware($route);
        foreach ($sorted as $middleware) {
            if (!\is_string($middleware)) {
                return $sorted;
            }
        }

        return $this->sorted[$key] = $sorted;
    }

    public function setCompiledRoutes(array $routes)
    {
        $this->routes = (new Routes($routes['compiled'], $routes['attributes']))->setRouter($this)->setContainer($this->container);
        $this->container->instance('routes', $this->routes);
    }
}
