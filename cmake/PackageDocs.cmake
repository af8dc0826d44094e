# Script, run while packing: what Debian wants compressed. SOURCE, VERSION, MAINTAINER, ROOT (where
# the package is being put together).
include(${SOURCE}/cmake/PackageVersion.cmake)
txcoord_package_version(${SOURCE} ${VERSION})
execute_process(COMMAND date -u -R -d @${TXCOORD_PACKAGE_EPOCH} OUTPUT_VARIABLE date
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

# Compressed without a name and a time in it: the same bytes each time.
function(write_compressed text file)
  get_filename_component(folder ${file} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  file(WRITE ${file} "${text}")
  execute_process(COMMAND gzip -9nf ${file} COMMAND_ERROR_IS_FATAL ANY)
  file(CHMOD ${file}.gz PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
endfunction()

write_compressed("txcoord (${TXCOORD_PACKAGE_UPSTREAM}-${TXCOORD_PACKAGE_REVISION}) unstable; urgency=medium

  * Built from source. What changed is in CHANGELOG.md beside this file.

 -- ${MAINTAINER}  ${date}
" ${ROOT}/usr/share/doc/txcoord/changelog.Debian)
file(READ ${SOURCE}/packaging/txcoord.1 page)
write_compressed("${page}" ${ROOT}/usr/share/man/man1/txcoord.1)
