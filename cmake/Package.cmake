# The Debian package: `cmake --build build/release --target deb` writes build/release/txcoord_*.deb.
# What goes to /usr comes from Install.cmake; what only a package has (units, configuration, the
# user) is the install component `debian`, which a plain `cmake --install` leaves out.
set(TXCOORD_MAINTAINER "txcoord maintainers <maintainers@txcoord.invalid>" CACHE STRING
  "Who answers for packages built here: NAME <ADDRESS>")

set(debian COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES packaging/txcoord.service packaging/txcoord-participant@.service
  DESTINATION usr/lib/systemd/system ${debian})
install(FILES packaging/txcoord.sysusers DESTINATION usr/lib/sysusers.d RENAME txcoord.conf ${debian})
install(FILES packaging/txcoord.toml DESTINATION etc/txcoord
  PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ ${debian})
install(DIRECTORY DESTINATION etc/txcoord/secrets
  DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE ${debian})
install(FILES packaging/copyright DESTINATION usr/share/doc/txcoord ${debian})
install(FILES packaging/lintian-overrides DESTINATION usr/share/lintian/overrides RENAME txcoord
  ${debian})
install(CODE "execute_process(COMMAND \${CMAKE_COMMAND} -D \"SOURCE=${CMAKE_SOURCE_DIR}\"
  -D VERSION=${PROJECT_VERSION} -D \"MAINTAINER=${TXCOORD_MAINTAINER}\"
  -D \"ROOT=\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\"
  -P \"${CMAKE_SOURCE_DIR}/cmake/PackageDocs.cmake\" COMMAND_ERROR_IS_FATAL ANY)" ${debian})

# Symbols are bound at start and the table is read-only from then on.
if(TARGET txcoord)
  target_link_options(txcoord PRIVATE LINKER:-z,relro,-z,now)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME txcoord)
set(CPACK_PACKAGE_VENDOR txcoord)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "atomic orders over four PostgreSQL databases, over REST")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "A coordinator that places an order atomically over the databases of four
services (order, inventory, payment, shipping): by group two-phase commit
with PREPARE TRANSACTION, or as a saga, behind one REST interface.
.
The package brings the program, systemd units (not started before they are
configured), documentation, and Prometheus rules and Grafana dashboards.
The databases are PostgreSQL 15 to 17; they may be on other machines.")
set(CPACK_TXCOORD_SOURCE ${CMAKE_SOURCE_DIR})
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_SOURCE_DIR}/cmake/PackageConfig.cmake)
set(CPACK_INSTALL_CMAKE_PROJECTS
  "${CMAKE_BINARY_DIR};txcoord;Unspecified;/usr;${CMAKE_BINARY_DIR};txcoord;debian;/")
set(CPACK_PACKAGING_INSTALL_PREFIX /)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${TXCOORD_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_SECTION net)
# Libraries: what the program is linked with, as dpkg-shlibdeps finds it. The other makes the user.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql, prometheus")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/conffiles
  ${CMAKE_SOURCE_DIR}/packaging/postinst ${CMAKE_SOURCE_DIR}/packaging/prerm
  ${CMAKE_SOURCE_DIR}/packaging/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
# `--target package` would build the tests first; `--target deb` builds what is packed.
set(CMAKE_SKIP_PACKAGE_ALL_DEPENDENCY ON)
include(CPack)
if(TARGET txcoord)
  add_custom_target(deb COMMAND ${CMAKE_CPACK_COMMAND} -G DEB --config ${CMAKE_BINARY_DIR}/CPackConfig.cmake
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR} DEPENDS txcoord USES_TERMINAL VERBATIM)
endif()
